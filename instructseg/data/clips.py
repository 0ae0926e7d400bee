"""Annotated videos: frames read on access, expressions and ground truth.

Adapters return lists of :class:`Clip`. Training draws samples from them (``referring_videos.py``); evaluation
iterates over them, so that all expressions of a video share its visual features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from instructseg.data.data_files import fit, missing_files, read_image
from instructseg.data.records import DataError, Fault, Problem


@dataclass(frozen=True)
class Expression:
    """One instruction on a video.

    Attributes:
        id: as the data set numbers it; results are stored under it.
        objects: ids, in the video's truth, of all that is meant; empty where nothing is, or nothing is known.
        type: of the data set, such as ``referring`` or ``reasoning``; empty where it has no types.
    """

    id: str
    text: str
    objects: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True)
class FrameFiles(Sequence[np.ndarray]):
    """The frames of a video as image files; each access reads ``uint8[H, W, 3]`` RGB.

    Attributes:
        files: their names in the order of time, below ``folder``.
    """

    folder: Path
    files: tuple[str, ...]

    @classmethod
    def named(cls, folder: Path, names: Sequence[str], suffix: str = ".jpg") -> FrameFiles:
        """Files listed without their suffix."""
        return cls(folder, tuple(name + suffix for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names without folder and suffix; result masks carry them."""
        return tuple(Path(file).stem for file in self.files)

    def path(self, t: int) -> Path:
        """The file of frame ``t``."""
        return self.folder / self.files[t]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, t: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, t: slice) -> FrameFiles: ...
    def __getitem__(self, t: int | slice) -> np.ndarray | FrameFiles:
        """Frame ``t``; raises as :func:`~instructseg.data.data_files.read_image`."""
        return replace(self, files=self.files[t]) if isinstance(t, slice) else read_image(self.path(t))

    def inspect(self) -> Iterator[Problem]:
        """Missing files."""
        return missing_files(self.folder / file for file in self.files)


class Truth(ABC):
    """Ground-truth masks of a video's objects, decoded on access."""

    @abstractmethod
    def mask(self, obj: str, t: int) -> np.ndarray | None:
        """``uint8[H, W]``, 1 on object ``obj`` in frame ``t``; ``None`` if recorded as invisible.

        Raises:
            FileNotFoundError: a mask file is missing.
            DataError: a mask cannot be decoded, or there is no such object.
        """

    @abstractmethod
    def where(self, obj: str, t: int) -> str:
        """Names the place of a mask, for errors."""

    def only(self, objects: Sequence[str]) -> Truth:
        """The masks of some objects, small enough for another process."""
        return self

    def never_visible(self, obj: str) -> bool:
        """True if the records show, without decoding, that an object is in no frame."""
        return False

    def inspect(self, clip: Clip) -> Iterator[Problem]:
        """Problems detectable without decoding; by default none."""
        return iter(())

    def files(self) -> Iterator[Path]:
        """The files of the masks."""
        return iter(())


@dataclass(frozen=True, eq=False)
class Clip:
    """One video.

    Attributes:
        name: as the data set calls it; may hold ``/``.
        frames: ``uint8[H, W, 3]`` RGB each, read when asked for.
        frame_names: one per frame; a result mask is stored under its frame's name.
        truth: of the objects; ``None`` where it is not public.
        recorded_size: ``(height, width)`` in pixels where it is annotated; else the first frame's.
        foreground_truth: one object, ``""``: everything that any expression of the video may mean; ``None``
            where the data set does not record it.
    """

    name: str
    frames: Sequence[np.ndarray]
    frame_names: tuple[str, ...]
    expressions: tuple[Expression, ...]
    truth: Truth | None = None
    recorded_size: tuple[int, int] | None = None
    foreground_truth: Truth | None = None

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def size(self) -> tuple[int, int]:
        """``(height, width)`` of the frames in pixels; reads the first frame where it is not recorded.

        Raises:
            DataError: there are no frames.
        """
        if self.recorded_size is not None:
            return self.recorded_size
        if not len(self.frames):
            raise DataError(Fault.RECORD, self.name, "it has no frames")
        height, width = self.frames[0].shape[:2]
        return height, width

    def check_size(self) -> None:
        """Raises as :meth:`size`, and ``DataError`` where the first frame is of another size than recorded."""
        if self.recorded_size is not None and len(self.frames):
            height, width = self.recorded_size
            fit(np.broadcast_to(np.uint8(0), (height, width)), self.frames[0], f"{self.name}, recorded size")

    @property
    def meant(self) -> tuple[str, ...]:
        """All target objects of all expressions, sorted."""
        return tuple(sorted({obj for expression in self.expressions for obj in expression.objects}))

    def masks(self, expression: Expression, t: int) -> np.ndarray | None:
        """``uint8[N, H, W]``, one mask per target object; ``None`` without public ground truth.

        Raises as :meth:`Truth.mask`, and ``DataError`` where a mask is not of the frames' size.
        """
        if self.truth is None:
            return None
        masks = [self._union(self.truth, (obj,), t) for obj in expression.objects]
        return np.stack(masks) if masks else np.zeros((0, *self.size), np.uint8)

    def mask(self, expression: Expression, t: int) -> np.ndarray | None:
        """``uint8[H, W]``, the union of all targets; otherwise as :meth:`masks`."""
        return None if self.truth is None else self._union(self.truth, expression.objects, t)

    def foreground(self, t: int) -> np.ndarray | None:
        """``uint8[H, W]``, the union of all possible targets; otherwise as :meth:`masks`.

        Where the data set does not record it, the union over the video's expressions.
        """
        recorded = self.foreground_truth
        truth, objects = (self.truth, self.meant) if recorded is None else (recorded, ("",))
        return None if truth is None else self._union(truth, objects, t)

    def _union(self, truth: Truth, objects: Sequence[str], t: int) -> np.ndarray:
        union = np.zeros(self.size, np.uint8)
        for obj in objects:
            mask = truth.mask(obj, t)
            if mask is not None and mask.shape != union.shape:
                (h, w), (height, width) = mask.shape, union.shape
                message = f"a mask of {h} x {w} for frames of {height} x {width} (height x width)"
                raise DataError(Fault.MASK, truth.where(obj, t), message)
            if mask is not None:
                union |= mask
        return union

    def inspect(self) -> Iterator[Problem]:
        """Missing files, and problems in the records of the ground truth."""
        if isinstance(self.frames, FrameFiles):
            yield from self.frames.inspect()
        if self.truth is not None:
            yield from self.truth.inspect(self)
        if self.foreground_truth is not None:
            everything = (Expression("", "", ("",)),)
            yield from self.foreground_truth.inspect(replace(self, expressions=everything))
