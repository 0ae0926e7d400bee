"""Output formats: one class each, and the table of them.

==========  ==============================  ===================================  ==============================
format      image ``photo.jpg``             video ``clip.mp4``                   content
==========  ==============================  ===================================  ==============================
overlay     ``photo_overlay.png``           ``clip_overlay.mp4``                 masks over the frames
masks       ``photo_masks/1-the-cat.png``   ``clip_masks/1-the-cat/00000.png``   0 and 255; soft: 0..255
palette     ``photo_palette.png``           ``clip_palette/00000.png``           0 nothing, i the i-th prompt;
                                                                                 of several the best scored
rle         ``photo.json``                  ``clip.json``                        COCO run lengths and scores
==========  ==============================  ===================================  ==============================

A new format is a subclass of :class:`Format` and a row of :data:`FORMATS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from instructseg.files import atomic_path, write_json_atomic
from instructseg.masks import mask_to_rle, save_binary_png, save_palette_png
from instructseg.media import VideoWriter, save_image
from instructseg.prediction import FrameResult, Prediction
from instructseg.results.manifest import Content

MAX_PALETTE = 255
"""Largest number of prompts in a palette image."""


@dataclass(frozen=True)
class ResultInfo:
    """Description of one input, for all formats.

    Attributes:
        instructions: in the order of the predictions.
        source: name of the input.
        soft: whether masks are written as probabilities, carried by the predictions.
        fps: frames per second of a video; ``None`` for an image.
        frame_names: file of each frame, of a folder of frames.
        replies: text replies by place of their instruction, which then has no prediction.
        announced: number of frames by the file's header, if known.
    """

    instructions: tuple[str, ...]
    source: str = ""
    soft: bool = False
    fps: float | None = None
    frame_names: Sequence[str] = ()
    replies: Mapping[int, str] = field(default_factory=dict)
    announced: int | None = None

    @property
    def places(self) -> list[int]:
        """Places of the instructions with a prediction."""
        return [place for place in range(len(self.instructions)) if place not in self.replies]


class Format:
    """Writer of one format on one input; subclasses set ``name`` and implement :meth:`write`.

    Args:
        target: of :meth:`place`.
        info: describes the input.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """Content, for messages, e.g. "the overlay"."""
    image_files: ClassVar[tuple[str, ...]] = ()
    """Suffixes of an ``--output`` that is this file, for an image."""
    video_files: ClassVar[tuple[str, ...]] = ()
    """The same for a video."""

    def __init__(self, target: Path, info: ResultInfo) -> None:
        self.target, self.info = target, info

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """File or folder of the result of an input called ``name``."""
        raise NotImplementedError

    @classmethod
    def content(cls, instructions: Sequence[str], video: bool) -> Content | None:
        """Files within the target; ``None`` if the target is a file."""
        return None

    @classmethod
    def check(cls, instructions: Sequence[str]) -> None:
        """Raises a ValueError if the format cannot hold the results of these instructions."""

    def write(self, result: FrameResult) -> None:
        """Writes the predictions on one frame."""
        raise NotImplementedError

    def close(self, error: BaseException | None) -> None:
        """Completes the files; after an error the frames so far stay readable."""

    def notes(self) -> list[str]:
        """Remarks about the written files."""
        return []


class Overlay(Format):
    """Masks over the frames, as an image or a video."""

    name, title = "overlay", "the overlay"
    image_files, video_files = (".png", ".jpg", ".jpeg"), (".mp4",)

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._stack = ExitStack()
        self._video: VideoWriter | None = None

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """See :meth:`Format.place`."""
        return folder / f"{name}_overlay{'.mp4' if video else '.png'}"

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        from instructseg.visualization import draw_predictions

        shown = draw_predictions(result.frame, result.predictions)
        if self.info.fps is None:
            save_image(self.target, shown)
            return
        if self._video is None:
            self._video = self._stack.enter_context(VideoWriter(self.target, self.info.fps, shown.shape[:2]))
        self._video.write(shown, result.time)

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        self._stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class Masks(Format):
    """A PNG per instruction and frame: 0 and 255, or probabilities 0..255."""

    name, title = "masks", "the masks"

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """See :meth:`Format.place`."""
        return folder / f"{name}_masks"

    @classmethod
    def content(cls, instructions: Sequence[str], video: bool) -> Content:
        """See :meth:`Format.content`."""
        names = tuple(mask_names(instructions))
        return Content(frames=names) if video else Content(files=tuple(f"{name}.png" for name in names))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        names = mask_names(self.info.instructions)
        for place, found in zip(self.info.places, result.predictions, strict=True):
            name = names[place]
            path = self.target / (f"{name}.png" if self.info.fps is None else f"{name}/{_frame_file(result)}")
            if self.info.soft:
                assert found.probability is not None
                _save_grey(path, found.probability)
            else:
                save_binary_png(path, found.mask)


class Palette(Format):
    """One PNG per frame: 0 for nothing, i for the i-th instruction, of several the best scored."""

    name, title = "palette", "the palette image"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        count = len(info.places)
        self._shown = np.zeros((count, count), np.int64)  # [i, j]: pixels of mask i with the value of mask j

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """See :meth:`Format.place`."""
        return folder / f"{name}_palette{'' if video else '.png'}"

    @classmethod
    def content(cls, instructions: Sequence[str], video: bool) -> Content | None:
        """See :meth:`Format.content`."""
        return Content(frames=("",)) if video else None

    @classmethod
    def check(cls, instructions: Sequence[str]) -> None:
        """See :meth:`Format.check`."""
        if len(instructions) > MAX_PALETTE:
            raise ValueError(
                f"a palette has room for {MAX_PALETTE} prompts, not {len(instructions)}: leave it out"
            )

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        ids = label_map(result.predictions)
        for row, found in zip(self._shown, result.predictions, strict=True):
            row += np.bincount(ids[found.mask], minlength=len(row) + 1)[1:]
        values = np.array([0, *(place + 1 for place in self.info.places)], np.uint8)[ids]
        path = self.target if self.info.fps is None else self.target / _frame_file(result)
        save_palette_png(path, values)

    def notes(self) -> list[str]:
        """Masks less than half visible under masks of a higher score."""
        return covered(self._shown, [self.info.instructions[place] for place in self.info.places])


class RleJson(Format):
    """One JSON file of COCO run lengths, scores and text replies."""

    name, title = "rle", "run lengths"
    image_files = video_files = (".json",)

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._frames: list[dict[str, Any]] = []

    @classmethod
    def place(cls, folder: Path, name: str, video: bool) -> Path:
        """See :meth:`Format.place`."""
        return folder / f"{name}.json"

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        rows = [_row(found) for found in result.predictions]
        for place, reply in sorted(self.info.replies.items()):
            rows.insert(place, {"answer": reply})
        names = self.info.frame_names
        file = {"file": names[result.index]} if result.index < len(names) else {}
        time = {} if result.time is None else {"time": round(result.time, 6)}
        self._frames.append({"index": result.index, **time, **file, "predictions": rows})

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if not self._frames:
            return
        info = self.info
        counts = {"fps": info.fps, "announced": info.announced, "read": len(self._frames)}
        record = {"input": info.source, "instructions": list(info.instructions), "frames": self._frames}
        write_json_atomic(self.target, record if info.fps is None else {**counts, **record})


FORMATS: dict[str, type[Format]] = {one.name: one for one in (Overlay, Masks, Palette, RleJson)}
"""All output formats by name."""
DEFAULT_FORMATS = ("overlay", "masks")


def parse_formats(given: Iterable[str]) -> tuple[str, ...]:
    """Names of formats, several in one string separated by commas.

    Raises:
        ValueError: an unknown format, or none.
    """
    names = tuple(name.strip() for text in given for name in text.split(",") if name.strip())
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"unknown format '{name}': use {', '.join(FORMATS)}")
    if not names:
        raise ValueError(f"no format is given: use {', '.join(FORMATS)}")
    return names


def mask_names(instructions: Sequence[str]) -> list[str]:
    """File names of the masks of each instruction."""
    return [f"{i}-{slug(text)}".rstrip("-") for i, text in enumerate(instructions, 1)]


def slug(text: str) -> str:
    """A short file name reminiscent of ``text``; may be empty."""
    return re.sub(r"\W+", "-", text.lower())[:40].strip("-")


def label_map(predictions: Sequence[Prediction]) -> np.ndarray:
    """``uint8[H, W]``: 0, or the prediction (from 1) of a pixel; of several the best scored."""
    ids = np.zeros(predictions[0].mask.shape, np.uint8)
    for i in sorted(range(len(predictions)), key=lambda i: predictions[i].score):
        ids[predictions[i].mask] = i + 1
    return ids


def covered(shown: np.ndarray, instructions: Sequence[str]) -> list[str]:
    """Notes on masks less than half visible in a palette.

    Args:
        shown: at ``[i, j]`` the pixels of the i-th mask with the value of the j-th.
        instructions: in that order.
    """
    notes = []
    for i, row in enumerate(shown):
        if row.sum() and row[i] < row.sum() / 2:
            over = instructions[int(np.argmax(np.where(np.arange(len(row)) == i, -1, row)))]
            notes.append(
                f"the palette shows {row[i]} of {row.sum()} pixels of '{instructions[i]}', which '{over}' "
                "covers: where masks overlap, the higher score has the pixel; --format masks keeps both"
            )
    return notes


def _row(found: Prediction) -> dict[str, Any]:
    values = {
        "score": round(found.score, 6),
        "presence": round(found.presence, 6),
        "found": found.found,
        "rle": mask_to_rle(found.mask),
    }
    return values if found.text is None else {**values, "answer": found.text}


def _frame_file(result: FrameResult) -> str:
    return f"{result.index:05d}.png"


def _save_grey(path: Path, probability: np.ndarray) -> None:
    """``float[H, W]``, 0..1, as 8-bit grey."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(np.rint(probability * 255).astype(np.uint8)).save(temporary)
