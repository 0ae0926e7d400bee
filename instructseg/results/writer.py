"""The files that a prediction leaves behind.

==========  ==============================  ===================================  ==============================
format      picture ``photo.jpg``           video ``clip.mp4``                   what it is
==========  ==============================  ===================================  ==============================
overlay     ``photo_overlay.png``           ``clip_overlay.mp4``                 masks over the frames
masks       ``photo_masks/1-the-cat.png``   ``clip_masks/1-the-cat/00000.png``   0 and 255; soft: 0..255
palette     ``photo_palette.png``           ``clip_palette/00000.png``           0 nothing, i the i-th prompt;
                                                                                 of several the best scored
rle         ``photo.json``                  ``clip.json``                        COCO run lengths and scores
==========  ==============================  ===================================  ==============================

Frames of a folder are numbered in its order; the run lengths name the ``file`` of each. What runs wrote is
recorded beside it (:mod:`instructseg.cli.manifest`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from instructseg.cli.manifest import Content
from instructseg.files import atomic_path, write_json_atomic
from instructseg.masks import mask_to_rle, save_binary_png, save_palette_png
from instructseg.media import VideoWriter, save_image
from instructseg.structures import Prediction

if TYPE_CHECKING:
    from instructseg.inference import FrameResult

MAX_PALETTE = 255
"""Prompts that a palette picture has room for."""


class Format(str, Enum):
    """What is written."""

    OVERLAY = "overlay"
    MASKS = "masks"
    PALETTE = "palette"
    RLE = "rle"


@dataclass(frozen=True)
class Layout:
    """Where the results on one picture or clip go; ``None`` where a format is not wanted.

    Attributes:
        overlay, rle: files.
        masks: a folder.
        palette: a file for a picture, a folder for a clip.
        fps: frames per second of a clip; ``None`` for a picture.
    """

    overlay: Path | None = None
    masks: Path | None = None
    palette: Path | None = None
    rle: Path | None = None
    fps: float | None = None

    @property
    def paths(self) -> list[Path]:
        """All there are."""
        return [path for path in (self.overlay, self.masks, self.palette, self.rle) if path is not None]

    def contents(self, instructions: Sequence[str]) -> dict[Path, Content | None]:
        """All there are, and what is going to be in those that are folders."""
        found: dict[Path, Content | None] = dict.fromkeys(self.paths)
        if self.masks:
            names = tuple(mask_names(instructions))
            image = Content(files=tuple(f"{name}.png" for name in names))
            found[self.masks] = image if self.fps is None else Content(frames=names)
        if self.palette and self.fps is not None:
            found[self.palette] = Content(frames=("",))
        return found


FILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".mp4", ".json")
"""Of an ``output`` that is a file and no folder."""
_OTHER_SUFFIXES = (
    ".gif", ".webp", ".apng", ".avif", ".bmp", ".tif", ".tiff", ".jp2", ".heic", ".heif", ".svg", ".pdf",
    ".psd", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".mp3", ".wav",
    ".txt", ".csv", ".tsv", ".jsonl", ".yaml", ".yml", ".xml", ".html", ".npy", ".npz", ".zip", ".tar", ".gz",
)  # fmt: skip
"""Of names that are meant as files which are not written."""
MAX_NAME = 255
"""Bytes of a file's name."""


def is_file_name(output: Path) -> bool:
    """Whether an ``output`` is one file; a folder of that name stays a folder."""
    return output.suffix.lower() in FILE_SUFFIXES and not output.is_dir()


def plan(name: str, output: Path, formats: Iterable[Format], fps: float | None = None) -> Layout:
    """Chooses the files for one input.

    Args:
        name: of the input, without suffix.
        output: a folder; or a ``.png``, ``.jpg`` or ``.mp4``, which then is the overlay; or a ``.json`` for the
            run lengths.
        formats: what is wanted.
        fps: frames per second of a clip; ``None`` for a picture.

    Raises:
        ValueError: a file cannot hold what is wanted.
    """
    wanted = set(formats)
    picture = fps is None
    if is_file_name(output):
        return _one_file(output, wanted, fps)
    check_folder_name(output)
    return Layout(
        output / f"{name}_overlay{'.png' if picture else '.mp4'}" if Format.OVERLAY in wanted else None,
        output / f"{name}_masks" if Format.MASKS in wanted else None,
        output / f"{name}_palette{'.png' if picture else ''}" if Format.PALETTE in wanted else None,
        output / f"{name}.json" if Format.RLE in wanted else None,
        fps,
    )


def _one_file(output: Path, wanted: set[Format], fps: float | None) -> Layout:
    """The layout of a single file."""
    suffix = output.suffix.lower()
    if suffix == ".json":
        if wanted != {Format.RLE}:
            raise ValueError(f"{output} is one file and holds run lengths alone: add -f rle, or give a folder")
        return Layout(rle=output, fps=fps)
    if (suffix == ".mp4") == (fps is None):
        kind, fit = ("picture", ".png or .jpg") if fps is None else ("video", ".mp4")
        raise ValueError(f"{output}: the result of a {kind} is no {suffix}: name a {fit} file or a folder")
    if wanted != {Format.OVERLAY}:
        raise ValueError(f"{output} is one file and holds the overlay alone: give a folder")
    return Layout(overlay=output, fps=fps)


def check_folder_name(output: Path) -> None:
    """Makes sure that an output is meant as a folder.

    Raises:
        ValueError: it is named like a file, or is one.
    """
    if output.is_dir():
        return
    if output.suffix.lower() in _OTHER_SUFFIXES:
        raise ValueError(
            f"{output}: no {output.suffix} file is written: name a .png or .jpg (image) or .mp4 (video) for "
            "the overlay, a .json for run lengths, or a folder"
        )
    if os.path.lexists(output):
        raise ValueError(f"{output} is no folder: choose another --output")


def check_free(paths: Iterable[Path]) -> None:
    """Makes sure that nothing would be overwritten.

    Raises:
        ValueError: a path exists.
    """
    for path in paths:
        if path.exists():
            raise ValueError(f"{path} exists: choose another --output, or add --overwrite")


class ResultWriter:
    """Writes results frame by frame, to a :class:`Layout`; files in its places are replaced.

    Use it in a ``with`` block. Nothing is made before the first frame. Left by an exception (Ctrl-C
    included), the video of the frames so far plays, and pictures and run lengths are complete.

    Args:
        layout: where to.
        instructions: in the order of the predictions.
        source: name of the input, for the JSON.
        soft: whether masks are written as probabilities; the predictions carry them.
        before: is called before the first file is written; makes room.
        names: of the files that the frames are from.
        replies: to instructions that are answered in words, by their place; they have no prediction.
        announced: how many frames the video promises; ``None`` where it does not.

    Raises:
        OSError: the disk is full, or a file cannot be written.
    """

    def __init__(
        self,
        layout: Layout,
        instructions: Sequence[str],
        source: str,
        soft: bool = False,
        before: Callable[[Layout], None] | None = None,
        names: Sequence[str] = (),
        replies: Mapping[int, str] | None = None,
        announced: int | None = None,
    ) -> None:
        self._announced = announced
        self.layout, self.soft = layout, soft
        self._before, self._names = before, names
        self._replies = dict(sorted((replies or {}).items()))
        marked = [place for place in range(len(instructions)) if place not in self._replies]
        self._values = [place + 1 for place in marked]
        self.shown_of = np.zeros((len(marked), len(marked)), np.int64)
        """Palette: at ``[i, j]`` how many pixels of the i-th mask have the value of the j-th."""
        self.count = 0
        """Frames written so far."""
        names_of_all = mask_names(instructions)
        self._folders = [names_of_all[place] for place in marked]
        self._record: dict[str, Any] = {"input": source, "instructions": list(instructions), "frames": []}
        self._stack = ExitStack()
        self._video: VideoWriter | None = None

    def __enter__(self) -> ResultWriter:
        return self

    def write(self, result: FrameResult) -> None:
        """Writes one frame's results."""
        if not self.count and self._before is not None:
            self._before(self.layout)
        self._write_overlay(result)
        self._write_masks(result)
        if self.layout.rle:
            rows = [_row(found) for found in result.predictions]
            for place, reply in self._replies.items():
                rows.insert(place, {"answer": reply})
            file = {"file": self._names[result.index]} if result.index < len(self._names) else {}
            time = {} if result.time is None else {"time": round(result.time, 6)}
            self._record["frames"].append({"index": result.index, **time, **file, "predictions": rows})
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if self.layout.rle and self.count:
            if self.layout.fps is not None:
                told = {"fps": self.layout.fps, "announced": self._announced, "read": self.count}
                self._record = {**told, **self._record}
            write_json_atomic(self.layout.rle, self._record)

    def _write_overlay(self, result: FrameResult) -> None:
        if not self.layout.overlay:
            return
        from instructseg.visualization import draw_predictions

        shown = draw_predictions(result.frame, result.predictions)
        if self.layout.fps is None:
            save_image(self.layout.overlay, shown)
            return
        if self._video is None:
            video = VideoWriter(self.layout.overlay, self.layout.fps, shown.shape[:2])
            self._video = self._stack.enter_context(video)
        self._video.write(shown, result.time)

    def _write_masks(self, result: FrameResult) -> None:
        """Binary or soft masks, and the palette picture."""
        masks, palette = self.layout.masks, self.layout.palette
        for folder, found in zip(self._folders, result.predictions, strict=True) if masks else ():
            assert masks is not None
            path = masks / f"{folder}.png" if self.layout.fps is None else masks / folder / _frame(result)
            if self.soft:
                assert found.probability is not None
                _save_grey(path, found.probability)
            else:
                save_binary_png(path, found.mask)
        if palette:
            ids = label_map(result.predictions)
            for row, found in zip(self.shown_of, result.predictions, strict=True):
                row += np.bincount(ids[found.mask], minlength=len(row) + 1)[1:]
            ids = np.array([0, *self._values], np.uint8)[ids]
            save_palette_png(palette if self.layout.fps is None else palette / _frame(result), ids)


def mask_names(instructions: Sequence[str]) -> list[str]:
    """What the masks of each instruction are named by."""
    return [f"{i}-{slug(text)}".rstrip("-") for i, text in enumerate(instructions, 1)]


def covered(shown_of: np.ndarray, instructions: Sequence[str]) -> list[str]:
    """Tells of which masks a palette shows less than half, as others of a higher score lie over them.

    Args:
        shown_of: as of :class:`ResultWriter`.
        instructions: in that order.
    """
    told = []
    for i, row in enumerate(shown_of):
        if row.sum() and row[i] < row.sum() / 2:
            over = instructions[int(np.argmax(np.where(np.arange(len(row)) == i, -1, row)))]
            told.append(
                f"the palette shows {row[i]} of {row.sum()} pixels of '{instructions[i]}', which '{over}' "
                "covers: where masks overlap, the higher score has the pixel; --format masks keeps both"
            )
    return told


def slug(text: str) -> str:
    """A short file name that reminds of ``text``; may be empty."""
    return re.sub(r"\W+", "-", text.lower())[:40].strip("-")


def label_map(predictions: Sequence[Prediction]) -> np.ndarray:
    """``uint8[H, W]``: 0, or which prediction (from 1) a pixel is in; of several the best scored."""
    ids = np.zeros(predictions[0].mask.shape, np.uint8)
    for i in sorted(range(len(predictions)), key=lambda i: predictions[i].score):
        ids[predictions[i].mask] = i + 1
    return ids


def _row(found: Prediction) -> dict[str, Any]:
    values = {
        "score": round(found.score, 6),
        "presence": round(found.presence, 6),
        "found": found.found,
        "rle": mask_to_rle(found.mask),
    }
    return values if found.answer is None else {**values, "answer": found.answer}


def _frame(result: FrameResult) -> str:
    return f"{result.index:05d}.png"


def _save_grey(path: Path, probability: np.ndarray) -> None:
    """``float[H, W]``, 0..1, as 8-bit grey."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(np.rint(probability * 255).astype(np.uint8)).save(temporary)
