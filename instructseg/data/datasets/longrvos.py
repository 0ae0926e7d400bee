"""Long-RVOS: objects of videos of a minute and more, by what they look like, what they do, or both.

The official files (``LongRvos.open``); the split is the folder::

    <root>/{train,valid,test}/JPEGImages/<video>/00000.jpg ...
                              Annotations/<video>/<object>/00000.png ...   above 0 on it; no file: not seen
                              meta_expressions.json

    {"videos": {"0a1b": {"frames": ["00000", ...],
        "expressions": {"0": {"exp": "the dog ...", "obj_id": "1", "type": "static"}, ...}}}}

The types are static, dynamic and hybrid. A split without ``Annotations`` has no public truth.
"""

from __future__ import annotations

from pathlib import Path

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.dataset import check_split
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import Record, file_kind
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import FolderTruth

SPLITS = ("valid", "train", "test")


class LongRvos(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(cls, root: str | Path, split: str = "valid", sampling: VideoSampling | None = None) -> LongRvos:
        """Opens the official files.

        Raises:
            FileNotFoundError, DataError: the JSON file is missing or damaged.
            ValueError: there is no such split.
        """
        check_split("Long-RVOS", split, SPLITS)
        folder = Path(root) / split
        file = folder / "meta_expressions.json"
        with file_kind(file, "not a Long-RVOS meta file"):
            clips = [_clip(folder, *item) for item in read_videos(file).items()]
        return cls(f"long-rvos/{split}", clips, sampling=sampling)


def _clip(folder: Path, name: str, video: Record) -> Clip:
    frames, masks = video.names("frames"), folder / "Annotations"
    expressions = []
    for number, entry in read_expressions(video):
        objects = (str(entry.id("obj_id")),) if entry.has("obj_id") else ()
        kind = entry.text("type") if entry.has("type") else ""
        expressions.append(Expression(number, " ".join(entry.text("exp").lower().split()), objects, kind))
    known = masks.is_dir() and all(expression.objects for expression in expressions)
    truth = FolderTruth(masks / name, frames, sparse=True) if known else None
    files = FrameFiles.named(folder / "JPEGImages" / name, frames)
    return Clip(name, files, frames, tuple(expressions), truth)
