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

from instructseg.data.clips import Clip, Expression, FrameFiles, Truth
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import Record, file_kind, identifier
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import RleTruth, read_tracks

SPLITS = ("train", "valid_u", "valid")

PUBLISHED: Mapping[str, Mapping[str, int]] = {
    "train": {"videos": 1662, "expressions": 23051},
    "valid_u": {"videos": 50, "expressions": 793},
    "valid": {"videos": 140, "expressions": 2236},
}
"""Split -> counts."""


class MeVis(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "valid_u",
        normalize: bool = True,
        sampling: VideoSampling | None = None,
    ) -> MeVis:
        """Opens the official files.

        Args:
            normalize: lower case and single spaces, as the official code reads expressions.
            sampling: expressions and frames to choose; by default without reversed time, since the
                expressions describe motion.

        Raises:
            FileNotFoundError, DataError: a JSON file is missing or damaged.
            ValueError: there is no such split.
        """
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}: there are {', '.join(SPLITS)}")
        folder = Path(root) / split
        file, masks = folder / "meta_expressions.json", folder / "mask_dict.json"
        videos = read_videos(file)
        # as in the official code; one frame shows no motion
        with file_kind(file, "not a MeViS meta file"):
            kept = {
                n: video for n, video in videos.items() if split != "train" or len(video.list("frames")) >= 2
            }
            wanted = {
                obj
                for video in kept.values()
                for _, entry in read_expressions(video)
                for obj in _objects(entry)
            }
            truth = RleTruth(masks, read_tracks(masks, wanted)) if wanted or split != "valid" else None
            clips = [_clip(folder, *item, truth=truth, normalize=normalize) for item in kept.items()]
        skipped = {"videos of one frame": len(videos) - len(kept)} if len(kept) < len(videos) else {}
        name, published = f"mevis/{split}", PUBLISHED[split]
        return cls(name, clips, sampling=sampling, reverse=0.0, published=published, skipped=skipped)


def _objects(entry: Record) -> tuple[str, ...]:
    """Target annotations of an expression, without repetitions."""
    if not entry.has("anno_id"):
        return ()
    return tuple(dict.fromkeys(str(identifier(n, entry.where, "anno_id")) for n in entry.list("anno_id")))


def _clip(folder: Path, name: str, video: Record, truth: Truth | None, normalize: bool) -> Clip:
    frames = video.names("frames")
    expressions = []
    for number, entry in read_expressions(video):
        words = entry.text("exp")
        said = " ".join(words.lower().split()) if normalize else words
        expressions.append(Expression(number, said, _objects(entry)))
    files = FrameFiles.named(folder / "JPEGImages" / name, frames)
    return Clip(name, files, frames, tuple(expressions), truth)
