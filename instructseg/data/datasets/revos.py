"""ReVOS: questions and references to objects of videos from several sources.

The official files (``ReVos.open``); note the underscore at the end of the names::

    <root>/JPEGImages/UVO/all/2E4T5NCywcE/000000.jpg ...        or without the folder JPEGImages
           meta_expressions_train_.json   meta_expressions_valid_.json
           mask_dict.json   mask_dict_foreground.json

    {"videos": {"UVO/all/2E4T5NCywcE": {"vid_id": 0, "height": 720, "width": 1280, "frames": ["000000", ...],
        "expressions": {"0": {"exp": "which ...?", "obj_id": [2], "anno_id": [31], "type_id": 1}, ...}}}}

``type_id`` is 0 for a reference, 1 for a question and 2 for an expression without a target in the video,
whose ``anno_id`` is empty. ``mask_dict.json`` holds ``{"31": [null or {"size", "counts"}, one per frame]}``,
``mask_dict_foreground.json`` ``{"<video>": {"masks_rle": [<RLE>, one per frame], ...}}``. The split is the
file. Upstream, the masks of some videos (``TAO/*``, a few ``UVO/*``) lie beside their objects: pass them as
``exclude``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.data_files import read_json
from instructseg.data.dataset import check_split
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import Record, file_kind
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import RleTruth, Track, compact_rle, read_tracks, to_rles
from instructseg.structures import Task

TYPES: Mapping[int, str] = MappingProxyType({0: "referring", 1: "reasoning", 2: "no target"})
"""``type_id`` -> :attr:`Expression.type <instructseg.data.clips.Expression>`."""

PUBLISHED: Mapping[str, Mapping[str, int]] = {"train": {"videos": 626}, "valid": {"videos": 416}}
"""Split -> counts."""


class ReVos(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "valid",
        foreground: bool | None = None,
        sampling: VideoSampling | None = None,
    ) -> ReVos:
        """Opens the official files.

        Args:
            foreground: whether to read ``mask_dict_foreground.json``, which the robustness score needs; by
                default for valid, where it is there. Without it, the foreground is the union of all that
                the expressions of the split mean.

        Raises:
            FileNotFoundError, DataError: a JSON file is missing or damaged.
            ValueError: there is no such split.
        """
        root = Path(root)
        check_split("ReVOS", split, PUBLISHED)
        file, masks = root / f"meta_expressions_{split}_.json", root / "mask_dict.json"
        images = root / "JPEGImages" if (root / "JPEGImages").is_dir() else root
        with file_kind(file, "not a ReVOS meta file"):
            clips = [_clip(images, *item) for item in read_videos(file).items()]
        tracks = read_tracks(masks, {obj for c in clips for e in c.expressions for obj in e.objects})
        behind = root / "mask_dict_foreground.json"
        if foreground is None:
            foreground = split == "valid" and behind.is_file()
        areas = _read_foreground(behind, {clip.name for clip in clips}) if foreground else {}
        truth = RleTruth(masks, tracks)
        foregrounds = {name: RleTruth(behind, {"": track}) for name, track in areas.items()}
        clips = [replace(c, truth=truth, foreground_truth=foregrounds.get(c.name)) for c in clips]
        return cls(f"revos/{split}", clips, Task.REASON_VOS, sampling, published=PUBLISHED[split])


def _clip(images: Path, name: str, video: Record) -> Clip:
    frames = video.names("frames")
    expressions = []
    for number, entry in read_expressions(video):
        meant, kind = entry.ids("anno_id"), entry.whole("type_id")
        expressions.append(Expression(number, entry.text("exp"), meant, TYPES.get(kind, str(kind))))
    files = FrameFiles.named(images / name, frames)
    return Clip(name, files, frames, tuple(expressions), None, video.size())


def _read_foreground(file: Path, names: set[str]) -> dict[str, Track]:
    """Video -> the union of its objects in each frame."""
    with file_kind(file, "not a foreground file"):
        found = read_json(file, dict, compact_rle)
        entries = {n: Record.of(value, f"{file}, video {n}") for n, value in found.items() if n in names}
        return {name: to_rles(entry.list("masks_rle"), entry.where) for name, entry in entries.items()}
