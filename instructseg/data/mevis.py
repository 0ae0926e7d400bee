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
from pathlib import Path
from typing import Any

from instructseg.data.clips import Clip, Expression, FrameFiles, Truth
from instructseg.data.dataset import CheckReport, DataError, Fault, check_parts
from instructseg.data.refytvos import read_videos
from instructseg.data.tracks import RleTruth, read_tracks
from instructseg.data.videos import ReferringVideos, every_frame

SPLITS = ("train", "valid_u", "valid")

PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "train": {"videos": 1662, "expressions": 23051},
    "valid_u": {"videos": 50, "expressions": 793},
    "valid": {"videos": 140, "expressions": 2236},
}
"""Split -> counts."""


class MeVis(ReferringVideos):
    """One split; see :class:`~instructseg.data.videos.ReferringVideos`."""

    @classmethod
    def open(cls, root: str | Path, split: str = "valid_u", normalise: bool = True, **options: Any) -> MeVis:
        """Opens the official files.

        Args:
            root: the folder that holds the splits.
            split: one of :data:`SPLITS`.
            normalise: lower case and single spaces, as the official code reads expressions.
            **options: of :class:`~instructseg.data.videos.ReferringVideos`. Time does not run backwards
                (``reverse=0``), since the expressions speak of motion.

        Raises:
            FileNotFoundError: a JSON file is missing.
            DataError: a JSON file is damaged.
            ValueError: there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}: there are {', '.join(SPLITS)}")
        folder = Path(root) / split
        file, masks = folder / "meta_expressions.json", folder / "mask_dict.json"
        videos = read_videos(file)
        # as in the official code; one frame shows no motion
        kept = {name: v for name, v in videos.items() if split != "train" or len(v.get("frames", ())) >= 2}
        try:
            wanted = {
                str(obj)
                for v in kept.values()
                for e in v["expressions"].values()
                for obj in e.get("anno_id", ())
            }
            truth = RleTruth(masks, read_tracks(masks, wanted)) if wanted or split != "valid" else None
            clips = [_clip(folder, *item, truth=truth, normalise=normalise) for item in kept.items()]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(Fault.RECORD, file, f"not a MeViS meta file: no {error}") from error
        skipped = {"videos of one frame": len(videos) - len(kept)} if len(kept) < len(videos) else {}
        options = {"reverse": 0.0, "published": PUBLISHED[split], "skipped": skipped, **options}
        return cls(f"mevis/{split}", clips, **options)


def _clip(folder: Path, name: str, video: Mapping[str, Any], truth: Truth | None, normalise: bool) -> Clip:
    frames = tuple(video["frames"])
    expressions = tuple(
        Expression(
            number,
            " ".join(entry["exp"].lower().split()) if normalise else entry["exp"],
            tuple(str(obj) for obj in entry.get("anno_id", ())),
        )
        for number, entry in video["expressions"].items()
    )
    return Clip(name, FrameFiles.named(folder / "JPEGImages" / name, frames), frames, expressions, truth)


def check(root: str | Path, deep: bool = False) -> CheckReport:
    """Goes through the three splits; see :func:`~instructseg.data.dataset.check_parts`."""
    parts = {split: every_frame(MeVis.open, root, split) for split in SPLITS}
    return check_parts("mevis", root, parts, deep)
