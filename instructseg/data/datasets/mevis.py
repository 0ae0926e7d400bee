"""MeViS: expressions of motion, often for several objects at once.

The official files (``MeVis.open``); the split is the folder::

    <root>/{train,valid_u,valid}/JPEGImages/<video>/00000.jpg ...
                                 meta_expressions.json
                                 mask_dict.json                  not valid: its truth is not public

    {"videos": {"002b4dce892c": {"vid_id": 0, "frames": ["00000", ...],
        "expressions": {"0": {"exp": "The dog that jumps", "obj_id": [0, 1], "anno_id": [4, 5]}, ...}}}}

``mask_dict.json`` holds ``{"4": [null or {"size", "counts"}, one per frame]}``. Expressions of valid are text
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.dataset import check_split
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import Record, file_kind
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import RleTruth, read_tracks

SPLITS = ("train", "valid_u", "valid")

PUBLISHED: Mapping[int, Mapping[str, Mapping[str, int]]] = {
    1: {
        "train": {"videos": 1662, "expressions": 23051},
        "valid_u": {"videos": 50, "expressions": 793},
        "valid": {"videos": 140, "expressions": 2236},
    },
    2: {
        "train": {"videos": 1662, "expressions": 27502},
        "valid_u": {"videos": 50, "expressions": 907},
        "valid": {"videos": 140, "expressions": 2523},
    },
}
"""Version -> split -> counts."""


class MeVis(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "valid_u",
        normalize: bool = True,
        sampling: VideoSampling | None = None,
        version: int = 1,
    ) -> MeVis:
        """Opens the official files.

        Args:
            version: of the data set, 1 or 2.
            normalize: lower case and single spaces, as the official code reads expressions.
            sampling: expressions and frames to choose; by default without reversed time, since the
                expressions describe motion.

        Raises:
            FileNotFoundError, DataError: a JSON file is missing or damaged.
            ValueError: there is no such split.
        """
        check_split("MeViS", split, SPLITS)
        folder = Path(root) / split
        file, masks = folder / "meta_expressions.json", folder / "mask_dict.json"
        with file_kind(file, "not a MeViS meta file"):
            clips = [_clip(folder, *item, normalize=normalize) for item in read_videos(file).items()]
        # as in the official code; one frame shows no motion
        kept = [clip for clip in clips if split != "train" or len(clip) >= 2]
        wanted = {obj for clip in kept for expression in clip.expressions for obj in expression.objects}
        if wanted or split != "valid":
            truth = RleTruth(masks, read_tracks(masks, wanted))
            kept = [replace(clip, truth=truth) for clip in kept]
        skipped = {"videos of one frame": len(clips) - len(kept)} if len(kept) < len(clips) else {}
        name, published = f"mevis{'-v2' if version == 2 else ''}/{split}", PUBLISHED[version][split]
        return cls(name, kept, sampling=sampling, reverse=0.0, published=published, skipped=skipped)


def _clip(folder: Path, name: str, video: Record, normalize: bool) -> Clip:
    frames = video.names("frames")
    expressions = []
    for number, entry in read_expressions(video):
        words = entry.text("exp")
        said = " ".join(words.lower().split()) if normalize else words
        objects = entry.ids("anno_id") if entry.has("anno_id") else ()
        expressions.append(Expression(number, said, objects))
    files = FrameFiles.named(folder / "JPEGImages" / name, frames)
    return Clip(name, files, frames, tuple(expressions))
