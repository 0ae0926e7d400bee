"""Base of the output formats: what they know of an input, and the objects of its frames."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from instructseg.files import write_text_atomic
from instructseg.prediction import FrameResult, Prediction
from instructseg.results.manifest import Content

if TYPE_CHECKING:
    from instructseg.visualization.overlay import Legend

TIMES = "times.csv"
"""File of the times in a folder of frames."""
MAX_PALETTE = 254
"""Largest number of prompts or objects in a palette image; 255 is the edge."""


@dataclass(frozen=True)
class ResultInfo:
    """Description of one input, for all formats.

    Attributes:
        instructions: the prompts; predictions refer to them by ``instruction_id``, replies left out.
        source: name of the input.
        name: of the results, without suffix; by default that of the source.
        path: the input, if it is a file or a folder.
        soft: whether masks are written as probabilities, carried by the predictions.
        fps: frames per second of a video; ``None`` for an image.
        frame_names: file of each frame, of a folder of frames.
        replies: text replies by place of their instruction, which then has no prediction.
        announced: number of frames by the file's header, if known.
        sound: file whose sound the written videos have.
        legend: of overlays; ``"inside"`` and ``"none"`` keep the size of the input.
        edge: width in pixels of the band of 255 (ignore) along outlines in palette images.
        labels: of the run, if inputs have prompts of their own: classes of data sets.
    """

    instructions: tuple[str, ...]
    source: str = ""
    name: str = ""
    path: Path | None = None
    soft: bool = False
    fps: float | None = None
    frame_names: Sequence[str] = ()
    replies: Mapping[int, str] = field(default_factory=dict)
    announced: int | None = None
    sound: Path | None = None
    legend: Legend = "below"
    edge: int = 0
    labels: tuple[str, ...] = ()

    @property
    def video(self) -> bool:
        """Whether the input is a video."""
        return self.fps is not None

    @cached_property
    def places(self) -> list[int]:
        """Places of the instructions with a prediction."""
        return [place for place in range(len(self.instructions)) if place not in self.replies]

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Names of the files of frames without suffix; empty for numbered frames."""
        return frame_stems(self.frame_names)

    def stem(self, index: int) -> str:
        """Name of the files of a frame, without suffix."""
        return self.stems[index] if index < len(self.stems) else f"{index:05d}"

    def file_of(self, index: int) -> str:
        """Name of a frame's image below the folder of the inputs, in data sets."""
        name = PurePosixPath(self.name or "image")
        if not self.video:
            return str(name.with_name(self.path.name if self.path else f"{name.name}.png"))
        return str(name / (self.frame_names[index] if index < len(self.frame_names) else f"{index:05d}.png"))


@dataclass(frozen=True)
class Layout:
    """Properties of an input on which the files of its results depend.

    Attributes:
        instructions: the prompts.
        video: whether it is a video.
        stems: names of its frames, if not numbers.
    """

    instructions: Sequence[str] = ()
    video: bool = False
    stems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundObject:
    """A prediction with its place among the objects of an input.

    Attributes:
        prediction: on one frame.
        place: of its instruction.
        number: among the objects of this instruction, from 1, the same on all frames.
        track: among all objects of the input, from 1, the same on all frames.
        category: of its label, from 1.
    """

    prediction: Prediction
    place: int
    number: int
    track: int
    category: int


class Format:
    """Writer of one format on one input; subclasses set ``name`` and ``places`` and implement :meth:`write`.

    Args:
        target: of :meth:`place`.
        info: describes the input.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """Content, for messages, e.g. "the overlay"."""
    places: ClassVar[tuple[str, str]]
    """Results of an image and of a video below the folder; ``{}`` is the name of the input."""
    image_files: ClassVar[tuple[str, ...]] = ()
    """Suffixes of an ``--output`` that is this file, for an image."""
    video_files: ClassVar[tuple[str, ...]] = ()
    """The same for a video."""
    gathered: ClassVar[str] = ""
    """Name of the file about all inputs of a run, made by :meth:`gather`."""
    gathers_one: ClassVar[bool] = False
    """Whether that file is written for a single input, too."""
    holds_replies: ClassVar[bool] = False
    """Whether text replies are part of it, which is then written for questions alone, too."""

    def __init__(self, target: Path, info: ResultInfo) -> None:
        self.target, self.info = target, info
        self.labels = list(dict.fromkeys(info.labels or info.instructions))
        """Names of the categories."""
        self._tracks: list[list[int]] = [[] for _ in info.instructions]

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """File or folder of the result of an input called ``name``."""
        return folder / cls.places[video].format(name)

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """The files and folders of the result, with the future content of folders."""
        return {target: None}

    @classmethod
    def check(cls, instructions: Sequence[str]) -> None:
        """Raises a ValueError if the format cannot hold the results of these instructions."""

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """Writes :attr:`gathered`.

        Args:
            target: the file.
            parts: result of each input, by the input's name.
            instructions: of the run.
        """
        raise NotImplementedError

    def write(self, result: FrameResult) -> None:
        """Writes the predictions on one frame."""
        raise NotImplementedError

    def close(self, error: BaseException | None) -> None:
        """Completes the files; after an error the frames so far stay readable."""

    def notes(self) -> list[str]:
        """Remarks about the written files."""
        return []

    def objects(self, result: FrameResult) -> list[FoundObject]:
        """The predictions on a frame, in order, with their places among the objects of the input.

        An instruction that nothing answers has a prediction with an empty mask, and the number 1.
        """
        found = []
        named = any(one.id for one in result.predictions)
        for order, one in enumerate(result.predictions, 1):
            if one.label not in self.labels:
                self.labels.append(one.label)
            place = self._place(one)
            track = one.id if named else order
            tracks = self._tracks[place]
            if track and track not in tracks:
                tracks.append(track)
            number = tracks.index(track) + 1 if track else 1
            found.append(FoundObject(one, place, number, track, self.labels.index(one.label) + 1))
        return found

    def _place(self, found: Prediction) -> int:
        """Place of a prediction's instruction: by its id, or of predictions of other calls by its text."""
        texts, places = self.info.instructions, self.info.places
        if found.instruction_id < len(places) and texts[places[found.instruction_id]] == found.instruction:
            return places[found.instruction_id]
        if found.instruction not in texts:
            raise ValueError(
                f"{self.target}: a later frame has the instruction '{found.instruction}', the first not"
            )
        return texts.index(found.instruction)


class FrameFormat(Format):
    """A format with a file per frame of a video, in a folder; subclasses implement :meth:`write`.

    The folder of a video also has :data:`TIMES`.
    """

    suffix: ClassVar[str] = ".png"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._times: list[tuple[int, str, float | None]] = []

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        return {target: Content((TIMES,), ("",), layout.stems, cls.suffix) if layout.video else None}

    def file(self, result: FrameResult) -> Path:
        """File of a frame; notes its time."""
        if not self.info.video:
            return self.target
        name = f"{self.info.stem(result.index)}{self.suffix}"
        self._times.append((result.index, name, result.time))
        return self.target / name

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._times:
            save_times(self.target / TIMES, self._times, self.info)


def save_times(path: Path, times: Iterable[tuple[int, str, float | None]], info: ResultInfo) -> None:
    """Writes index, file and time in seconds of each frame, and the frame rate, as CSV."""
    rows = [(index, name, "" if time is None else round(time, 6), info.fps) for index, name, time in times]
    save_csv(path, ("index", "file", "time", "fps"), rows)


def save_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table in UTF-8, with plain line feeds."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    write_text_atomic(path, text.getvalue())


def frame_stems(names: Sequence[str]) -> tuple[str, ...]:
    """Names of frames without suffix, as far as they stay distinct; whole names otherwise."""
    stems = tuple(Path(name).stem for name in names)
    return stems if len({stem.casefold() for stem in stems}) == len(stems) else tuple(names)


def mask_names(instructions: Sequence[str]) -> list[str]:
    """File names of the masks of each instruction."""
    return [f"{i}-{slug(text)}".rstrip("-") for i, text in enumerate(instructions, 1)]


def slug(text: str) -> str:
    """A short file name reminiscent of ``text``; may be empty."""
    return re.sub(r"\W+", "-", text.lower())[:40].strip("-")


def label_map(objects: Sequence[FoundObject], shape: tuple[int, int]) -> np.ndarray:
    """``int64[H, W]``: 0, or the object (from 1, by order) of a pixel; of several the best scored."""
    ids = np.zeros(shape, np.int64)
    for i in sorted(range(len(objects)), key=lambda i: objects[i].prediction.score):
        ids[objects[i].prediction.mask] = i + 1
    return ids
