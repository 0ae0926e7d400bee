"""Ref-SAV: long descriptions of objects in videos of SA-V.

The official files of the evaluation (``RefSav.open``)::

    <root>/videos/sav_055/sav_055000.mp4 ...
           meta_expressions_valid.json   mask_dict.json

    {"videos": {"sav_055000": {"frames": ["00000", "00004", ...],
        "expressions": {"0": {"exp": "The object is ...", "anno_id": ["12"]}, ...}}}}

A frame's name is its number in the file. ``mask_dict.json`` holds ``{"12": [null or {"size", "counts"}, one per
listed frame]}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np

from instructseg.data.clips import Clip, Expression
from instructseg.data.data_files import missing_files, require_file
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import DataError, Fault, Problem, Record, fault, file_kind, identifier, shown
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import RleTruth, read_tracks
from instructseg.media import open_video
from instructseg.media.random_access import read_frame


@dataclass(frozen=True)
class ListedFrames(Sequence[np.ndarray]):
    """Some frames of a video file, ``uint8[H, W, 3]`` RGB each; going through them decodes the file once."""

    file: Path
    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[np.ndarray]:
        wanted = set(self.numbers)
        found = 0
        for number, frame in enumerate(open_video(require_file(self.file))):
            if number in wanted:
                yield frame
                found += 1
        if found < len(wanted):
            raise DataError(Fault.IMAGE, self.file, f"it has {found} of the {len(wanted)} listed frames")

    @overload
    def __getitem__(self, t: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, t: slice) -> ListedFrames: ...
    def __getitem__(self, t: int | slice) -> np.ndarray | ListedFrames:
        """Frame ``t`` of the list; raises as :meth:`__iter__`, and ``FileNotFoundError``."""
        if isinstance(t, slice):
            return replace(self, numbers=self.numbers[t])
        try:
            return read_frame(require_file(self.file), self.numbers[t])
        except (ValueError, IndexError) as error:
            raise DataError(Fault.IMAGE, self.file, str(error)) from error


class RefSav(ReferringVideos):
    """The evaluation set; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(cls, root: str | Path, split: str | None = None, sampling: VideoSampling | None = None) -> RefSav:
        """Opens the official files.

        Args:
            split: there are none; not read.

        Raises:
            FileNotFoundError, DataError: a JSON file is missing or damaged.
        """
        root = Path(root)
        file, masks = root / "meta_expressions_valid.json", root / "mask_dict.json"
        with file_kind(file, "not a Ref-SAV meta file"):
            clips = [_clip(root / "videos", *item) for item in read_videos(file).items()]
        truth = RleTruth(masks, read_tracks(masks, {obj for clip in clips for obj in clip.meant}))
        return cls("ref-sav", [replace(clip, truth=truth) for clip in clips], sampling=sampling)

    def inspect(self) -> Iterator[Problem]:
        """See :meth:`Dataset.inspect`; also missing videos."""
        yield from super().inspect()
        yield from missing_files(
            clip.frames.file for clip in self.clips if isinstance(clip.frames, ListedFrames)
        )


def _clip(folder: Path, name: str, video: Record) -> Clip:
    frames = video.names("frames")
    if wrong := next((frame for frame in frames if not frame.isdecimal()), None):
        raise fault(video.where, f"frame {shown(wrong)} is no number")
    numbers = tuple(map(int, frames))
    if any(one >= other for one, other in pairwise(numbers)):
        raise fault(video.where, "its frames are not in the order of time")
    expressions = []
    for number, entry in read_expressions(video):
        meant = dict.fromkeys(str(identifier(n, entry.where, "anno_id")) for n in entry.list("anno_id"))
        expressions.append(Expression(number, entry.text("exp"), tuple(meant)))
    file = folder / name[: len("sav_055")] / f"{name}.mp4"
    return Clip(name, ListedFrames(file, numbers), frames, tuple(expressions))
