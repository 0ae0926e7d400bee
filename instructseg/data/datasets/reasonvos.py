"""ReasonVOS: implicit references and questions on videos of other data sets.

The official files (``ReasonVos.open``)::

    <root>/JPEGImages/<video>/00000.jpg ...
           Annotations/<source>_<video>_<object>/00000.png ...     above 0 on the object
           meta_expressions.json

    {"videos": {"0ab4": {"source": "MeViS", "frames": ["00000", ...], "is_sent": 1,
        "expressions": {"0": {"obj_id": 3, "exp_text": "which ...?"}, ...}}}}

Copies that others made list the expressions, with ``exp_id`` and ``is_sent`` in each. The official script keeps
one result of each object, the last; here every expression counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.datasets.refytvos import read_expressions, read_videos
from instructseg.data.records import Record, file_kind
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import FolderTruth
from instructseg.structures import Task


class ReasonVos(ReferringVideos):
    """The only split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(
        cls, root: str | Path, split: str | None = None, sampling: VideoSampling | None = None
    ) -> ReasonVos:
        """Opens the official files; ``Expression.type`` is ``sentence`` or ``phrase``.

        Args:
            split: there are none; not read.

        Raises:
            FileNotFoundError, DataError: the JSON file is missing or damaged.
        """
        root = Path(root)
        file = root / "meta_expressions.json"
        with file_kind(file, "not a ReasonVOS meta file"):
            clips = [_clip(root, *item) for item in read_videos(file).items()]
        return cls("reasonvos", clips, Task.REASON_VOS, sampling)


def _clip(root: Path, name: str, video: Record) -> Clip:
    frames, source = video.names("frames"), video.text("source")
    truth = FolderTruth(root / "Annotations", frames)
    expressions = []
    for number, entry in _entries(video):
        obj = f"{source}_{name}_{entry.id('obj_id')}"
        if not (truth.folder / obj).is_dir():  # some files write the source in lower case
            obj = f"{source.lower()}_{name}_{entry.id('obj_id')}"
        is_sentence = entry.value.get("is_sent", video.value.get("is_sent"))
        kind = "sentence" if is_sentence else "phrase"
        expressions.append(Expression(number, entry.text("exp_text"), (obj,), kind))
    files = FrameFiles.named(root / "JPEGImages" / name, frames)
    return Clip(name, files, frames, tuple(expressions), truth)


def _entries(video: Record) -> Iterator[tuple[str, Record]]:
    if isinstance(video.get("expressions"), list):
        for number, entry in enumerate(video.records("expressions")):
            yield str(entry.id("exp_id") if entry.has("exp_id") else number), entry
    else:
        yield from read_expressions(video)
