"""Formats of images and videos: overlays, masks, palettes, frames and cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import numpy as np

from instructseg.files import atomic_path
from instructseg.masks import save_binary_png, save_palette_png
from instructseg.media import VideoWriter, save_image
from instructseg.prediction import FrameResult, Prediction
from instructseg.results.manifest import Content
from instructseg.results.result_format import (
    MAX_PALETTE,
    TIMES,
    Format,
    FoundObject,
    FrameFormat,
    Layout,
    ResultInfo,
    label_map,
    mask_names,
)
from instructseg.structures import IGNORE_PIXEL


class _Movie(Format):
    """An image of an image, a video of a video."""

    alpha: ClassVar[float] = 0.5

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._stack = ExitStack()
        self._video: VideoWriter | None = None

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        shown = self.draw(result)
        if not self.info.video:
            save_image(self.target, shown)
            return
        if self._video is None:
            assert self.info.fps is not None
            writer = VideoWriter(self.target, self.info.fps, shown.shape[:2], sound=self.info.sound)
            self._video = self._stack.enter_context(writer)
        self._video.write(shown, result.time)

    def draw(self, result: FrameResult) -> np.ndarray:
        """``uint8[H', W', C]`` of a frame."""
        from instructseg.visualization import draw_predictions

        shown = draw_predictions(result.frame, result.predictions, legend=self.info.legend, alpha=self.alpha)
        if self.info.video:
            return shown
        below = ((0, shown.shape[0] - result.frame.shape[0]), (0, 0), (0, 0))
        # answers that are images stand beside the frame
        drawn = [np.pad(one.drawn, below) for one in result.predictions if one.drawn is not None]
        return np.concatenate([shown, *drawn], axis=1)

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        self._stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


class Overlay(_Movie):
    """Masks over the frames; answers that are images beside an image."""

    name, title = "overlay", "the overlay"
    places = ("{}_overlay.png", "{}_overlay.mp4")
    image_files, video_files = (".png", ".jpg", ".jpeg"), (".mp4",)


class Outline(_Movie):
    """Outlines of masks over the frames; the colours inside stay visible."""

    name, title = "outline", "the outlines"
    places = ("{}_outline.png", "{}_outline.mp4")
    image_files, video_files = (".png", ".jpg", ".jpeg"), (".mp4",)
    alpha = 0.0


class WebM(_Movie):
    """A video of everything found, transparent elsewhere: VP9."""

    name, title = "webm", "the cut-out video"
    places = ("{}_cutout.png", "{}_cutout.webm")
    video_files = (".webm",)

    def draw(self, result: FrameResult) -> np.ndarray:
        """See :meth:`_Movie.draw`."""
        return cut_out(result.frame, result.predictions, self.info.soft)

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        if self.info.video:
            super().write(result)
        else:
            _save_png(self.target, self.draw(result))


class ProRes(WebM):
    """The same in ProRes 4444, for video editors."""

    name, title = "prores", "the cut-out video"
    places = ("{}_cutout.png", "{}_cutout.mov")
    video_files = (".mov",)


class Frames(FrameFormat):
    """The frames themselves, to which data sets made of a video refer."""

    name, title = "frames", "the frames"
    places = ("frames/{}.png", "frames/{}")

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        save_image(self.file(result), result.frame)


class Masks(FrameFormat):
    """A PNG per object and frame: 0 and 255, or probabilities 0..255.

    An instruction that nothing answers has an empty mask. Further objects of an instruction have a number.
    """

    name, title = "masks", "the masks"
    places = ("{}_masks",) * 2

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._names = mask_names(info.instructions)
        self._written: dict[str, set[str]] = {}

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        names = tuple(mask_names(layout.instructions))
        if not layout.video:
            return {target: Content(tuple(f"{name}.png" for name in names))}
        return {target: Content((TIMES,), names, layout.stems)}

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        self._shape = result.frame.shape[:2]
        frame = self.file(result).name if self.info.video else ""
        for one in self.objects(result):
            name = self._names[one.place] + (f"-{one.number}" if one.number > 1 else "")
            self.save(self._path(name, frame), result.frame, one.prediction)
            self._written.setdefault(name, set()).add(frame)

    def save(self, path: Path, frame: np.ndarray, found: Prediction) -> None:
        """Writes the file of one object."""
        if self.info.soft:
            assert found.probability is not None
            _save_png(path, np.rint(found.probability * 255).astype(np.uint8))
        else:
            save_binary_png(path, found.mask)

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`; an object that is not in a frame has an empty mask there."""
        super().close(error)
        for _, frame, _ in self._times:
            for name, written in self._written.items():
                if frame not in written:
                    blank = np.zeros(self._shape, bool)
                    black = np.zeros((*self._shape, 3), np.uint8)
                    absent = Prediction(blank, 0.0, 0.0, probability=blank.astype(np.float32))
                    self.save(self._path(name, frame), black, absent)

    def _path(self, name: str, frame: str) -> Path:
        return self.target / name / frame if frame else self.target / f"{name}.png"


class Drawn(Masks):
    """A PNG per instruction and frame that was answered by an image; the mask of every other one."""

    name, title = "drawn", "the answers that are images"
    places = ("{}_drawn",) * 2

    def save(self, path: Path, frame: np.ndarray, found: Prediction) -> None:
        """See :meth:`Masks.save`."""
        if found.drawn is None:
            super().save(path, frame, found)
        else:
            save_image(path, found.drawn)


class Cutouts(Masks):
    """A PNG per object and frame with the frame's colours, transparent outside of the mask."""

    name, title = "cutouts", "the cut-outs"
    places = ("{}_cutouts",) * 2

    def save(self, path: Path, frame: np.ndarray, found: Prediction) -> None:
        """See :meth:`Masks.save`."""
        _save_png(path, cut_out(frame, [found], self.info.soft))


class Palette(FrameFormat):
    """One PNG per frame: 0 nothing, i the i-th instruction, of several the best scored; 255 edges."""

    name, title = "palette", "the palette image"
    places = ("{}_palette.png", "{}_palette")
    image_files = (".png",)

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        count = len(info.instructions)
        self._shown = np.zeros((count, count), np.int64)  # [i, j]: pixels of mask i with the value of mask j

    @classmethod
    def check(cls, instructions: Sequence[str]) -> None:
        """See :meth:`Format.check`."""
        if len(instructions) > MAX_PALETTE:
            raise ValueError(
                f"a palette has room for {MAX_PALETTE} prompts, not {len(instructions)}: leave it out"
            )

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects = self.objects(result)
        ids = label_map(objects, result.frame.shape[:2])
        values = np.array([0, *(one.place + 1 for one in objects)])[ids]
        for one in objects:
            counts = np.bincount(values[one.prediction.mask], minlength=len(self._shown) + 1)
            self._shown[one.place] += counts[1:]
        save_palette_png(self.file(result), with_edges(values, objects, self.info.edge))

    def notes(self) -> list[str]:
        """Masks less than half visible under masks of a higher score."""
        return covered(self._shown, self.info.instructions)


def with_edges(values: np.ndarray, objects: Sequence[FoundObject], width: int) -> np.ndarray:
    """``uint8[H, W]``: the values, and 255 in a band along the outline of each mask.

    Args:
        values: ``int[H, W]``, 0..254.
        objects: on this frame.
        width: of the band in pixels, half of it on either side; 0 for none.
    """
    import cv2

    result = values.astype(np.uint8)
    reach = width / 2
    for one in objects if width else ():
        mask = one.prediction.mask.astype(np.uint8)
        # the border of the image is no outline
        padded = np.pad(mask, 1, mode="edge")
        inside = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        outside = cv2.distanceTransform(1 - padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        near = ((inside > 0) & (inside - 0.5 <= reach)) | ((outside > 0) & (outside - 0.5 <= reach))
        result[near[1:-1, 1:-1] & bool(mask.any())] = IGNORE_PIXEL
    return result


def cut_out(frame: np.ndarray, predictions: Sequence[Prediction], soft: bool = False) -> np.ndarray:
    """``uint8[H, W, 4]`` RGBA: a frame, transparent outside of the masks (or by their probability)."""
    alpha = np.zeros(frame.shape[:2], np.uint8)
    for one in predictions:
        if soft:
            assert one.probability is not None
            alpha = np.maximum(alpha, np.rint(one.probability * 255).astype(np.uint8))
        else:
            alpha[one.mask] = 255
    return np.dstack([frame, alpha])


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


def _save_png(path: Path, array: np.ndarray) -> None:
    """``uint8[H, W]`` grey or ``uint8[H, W, 4]`` RGBA."""
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
