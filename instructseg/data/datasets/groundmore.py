"""GroundMoRe: questions on motion whose answer is an object during an action, not before and not after it.

The official files (``GroundMore.open``)::

    <root>/annotations/<video>_<mmss>_<mmss>/images/*.jpg               6 frames per second, in order of names
                                             masks/frame_000012.png     palette: the number of the object
           {test,train}_v2.json

    {"videos": {"abc_0010_0020": {"questions": {"0": {"question": "who ...?", "answer": "the man", "obj_id": 1,
        "q_type": "Causal", "action_start": "0:12", "action_end": "0:15"}, ...}}}}

The end of a video's name is its own start and end in the film. A frame without a mask file shows no object.
Videos without frames are left out, as in the official script, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instructseg.data.clips import Clip, Expression, FrameFiles
from instructseg.data.dataset import check_split
from instructseg.data.datasets.refytvos import read_videos
from instructseg.data.records import Problem, Record, fault, file_kind, identifier, shown
from instructseg.data.referring_videos import ReferringVideos, VideoSampling
from instructseg.data.video_masks import PaletteTruth
from instructseg.files import name_fault
from instructseg.structures import Task

SPLITS = ("test", "train")
FPS = 6
_CLOCK = re.compile(r"(?:(?:(\d{1,2}):)?(\d{1,2}):)?(\d{1,2})")


@dataclass(frozen=True, eq=False)
class SpanTruth(PaletteTruth):
    """Objects of a palette during a span of frames, ``<number>@<first>-<last>``; a frame may have no image."""

    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """See :meth:`Truth.mask`."""
        number, _, span = obj.partition("@")
        first, last = map(int, span.split("-"))
        if not (first <= t <= last and Path(self.where(obj, t)).is_file()):
            return None
        return super().mask(number, t)

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """None: no file has to be there."""
        return iter(())


class GroundMore(ReferringVideos):
    """One split; see :class:`~instructseg.data.referring_videos.ReferringVideos`."""

    @classmethod
    def open(cls, root: str | Path, split: str = "test", sampling: VideoSampling | None = None) -> GroundMore:
        """Opens the official files; ``Expression.type`` is the kind of question in lower case.

        Raises:
            FileNotFoundError, DataError: the JSON file is missing or damaged.
            ValueError: there is no such split.
        """
        check_split("GroundMoRe", split, SPLITS)
        file = Path(root) / f"{split}_v2.json"
        with file_kind(file, "not a GroundMoRe file"):
            found = [_clip(Path(root) / "annotations", *item) for item in read_videos(file).items()]
        clips = [clip for clip in found if len(clip)]
        skipped = {"videos without frames": len(found) - len(clips)} if len(clips) < len(found) else {}
        return cls(f"groundmore/{split}", clips, Task.REASON_VOS, sampling, reverse=0.0, skipped=skipped)


def _clip(root: Path, name: str, video: Record) -> Clip:
    folder, images = root / name, root / name / "images"
    frames = FrameFiles(images, tuple(sorted(path.name for path in images.glob("*.jpg"))))
    begin = re.search(r"(\d\d)(\d\d)_\d{4}$", name)
    if begin is None:
        raise fault(video.where, f"{shown(name)} does not end in start and end, as in _0010_0020")
    start = 60 * int(begin[1]) + int(begin[2])
    expressions = []
    for number, value in video.table("questions").items():
        entry = Record.of(value, f"{video.where}, question {number}")
        if name_fault(number, nested=False):
            raise fault(entry.where, f"{shown(number)} names no folder of results")
        first = FPS * (_seconds(entry, "action_start") - start)
        last = FPS * (_seconds(entry, "action_end") - start) - 1
        obj = f"{identifier(entry.get('obj_id'), entry.where, 'obj_id')}@{max(first, 0)}-{max(last, 0)}"
        expressions.append(Expression(number, entry.text("question"), (obj,), entry.text("q_type").lower()))
    truth = SpanTruth(folder / "masks", tuple(f"frame_{t:06d}" for t in range(len(frames))))
    return Clip(name, frames, frames.names, tuple(expressions), truth)


def _seconds(entry: Record, name: str) -> int:
    """A time of the film, ``0:12`` or ``1:02:03``."""
    match = _CLOCK.fullmatch(entry.text(name).strip())
    if match is None:
        raise fault(entry.where, f"{name} {shown(entry.get(name))} is no time such as 0:12")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
