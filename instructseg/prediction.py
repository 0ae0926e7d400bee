"""Results that users get: a prediction, and the predictions on one frame.

Images, videos, sessions and batches give the same :class:`Prediction`; videos and sessions give them by frame,
as :class:`FrameResult`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.files import atomic_path, write_json_atomic
from instructseg.masks import mask_bounds, mask_to_rle, save_binary_png
from instructseg.media import save_image
from instructseg.polygons import mask_outlines, resample_outline, smallest_rectangle
from instructseg.visualization import draw_predictions


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """An object that answers an instruction on one frame, or the answer that nothing does.

    Attributes:
        mask: ``bool[H, W]`` at the frame's own size; empty where nothing was found.
        score: 0..1, similarity with the instruction times the mean probability inside the mask; the
            official ranking score.
        presence: 0..1, the largest similarity of any query with the instruction; low where nothing in
            the frame matches.
        instruction: as given.
        probability: ``float32[H, W]``, the soft mask, 0..1; only on request.
        text: generated text; only on request.
        label: class of the object; by default the instruction.
        id: of the object, from 1, unique on an image and the same on all frames of a video; 0 for none.
        instruction_id: place of the instruction in the call, from 0, or its id in a session. Where several
            objects were asked for, their predictions share it.
        image: ``uint8[H, W, 3]`` RGB, the frame; for :meth:`plot`. Not to be modified.
        agreement: 0..1, share of the paraphrases that gave this answer; only with ``consensus``.
        drawn: ``uint8[H, W, 3]`` RGB, an answer that is an image: a depth map, an edited image.
        confidence: ``float32[H, W]``, 0..1, how likely the answer is right at a pixel; of InstructSeq alone.
        system: name of the system that made the answer; empty for InstructSeg.
    """

    mask: np.ndarray
    score: float
    presence: float
    instruction: str = ""
    probability: np.ndarray | None = None
    text: str | None = None
    label: str = ""
    id: int = 0
    instruction_id: int = 0
    image: np.ndarray | None = None
    agreement: float | None = None
    drawn: np.ndarray | None = None
    confidence: np.ndarray | None = None
    system: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.instruction)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        size = f"in {height}x{width}" + (f", by {self.system}" if self.system else "")
        if self.drawn is not None and not self.found:
            return f"<Prediction '{self.label}': an image, {size}>"
        if not self.found:
            return f"<Prediction '{self.label}': not found, presence {self.presence:.2f}, {size}>"
        number = f" #{self.id}" if self.id else ""
        values = f"score {self.score:.2f}, presence {self.presence:.2f}, box {list(self.box or ())}"
        return f"<Prediction '{self.label}'{number}: {values}, area {self.area}, {size}>"

    @property
    def found(self) -> bool:
        """Whether the mask has a pixel; false where ``presence`` was below the threshold."""
        return bool(self.mask.any())

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.mask))

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """``(left, top, right, bottom)`` in pixels, right and bottom exclusive; ``None`` for an empty mask."""
        return mask_bounds(self.mask)

    @property
    def polygons(self) -> list[np.ndarray]:
        """Outer outline of each part, ``float64[n, 2]`` of x and y, the largest first; holes are left out."""
        return [part[0] for part in mask_outlines(self.mask)]

    def polygon(self, points: int | None = None) -> np.ndarray:
        """Outline of the largest part, ``float64[n, 2]`` of x and y; no point for an empty mask.

        Args:
            points: their exact number, evenly spaced along the outline; ``None`` for the corners.

        Raises:
            ValueError: fewer than 3 points.
        """
        found = self.polygons
        if not found:
            return np.zeros((0, 2))
        return found[0] if points is None else resample_outline(found[0], points)

    def plot(self, image: np.ndarray | None = None) -> np.ndarray:
        """The mask drawn over its frame, with a caption below, ``uint8[H', W, 3]`` RGB.

        Args:
            image: ``uint8[H, W, 3]``; ``None`` for the frame of the prediction.

        Raises:
            ValueError: the prediction carries no image, or ``image`` is of another size.
        """
        shown = self.image if image is None else image
        if shown is None:
            raise ValueError("the prediction carries no image: give one, as in plot(image)")
        return draw_predictions(shown, [self])

    def save(self, path: str | Path) -> Path:
        """Writes a file; an existing one is replaced.

        The suffix chooses: ``.png`` for the mask (0 and 255), ``.jpg`` for the drawing of :meth:`plot`,
        ``.npy`` for the mask as an array, ``.json`` for the annotation of :meth:`to_coco`.
        ``instructseg.save_results`` writes several predictions, in more formats.

        Returns:
            The path.

        Raises:
            ValueError: another suffix, or a drawing without an image.
            OSError: the file cannot be written.
        """
        target = Path(path)
        match target.suffix.lower():
            case ".png":
                save_binary_png(target, self.mask)
            case ".jpg" | ".jpeg":
                save_image(target, self.plot())
            case ".npy":
                with atomic_path(target) as temporary, temporary.open("wb") as file:
                    np.save(file, self.mask)
            case ".json":
                write_json_atomic(target, self.to_coco())
            case other:
                raise ValueError(f"{target}: a prediction is no '{other}': use .png, .jpg, .npy or .json")
        return target

    def to_coco(
        self, image_id: int = 1, annotation_id: int | None = None, category_id: int = 1
    ) -> dict[str, Any]:
        """A COCO annotation with run lengths, its score and label; plain JSON values.

        Args:
            image_id: of the frame.
            annotation_id: ``None`` for the id of the object.
            category_id: of the label.
        """
        left, top, right, bottom = self.box or (0, 0, 0, 0)
        return {
            "id": self.id if annotation_id is None else annotation_id,
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": mask_to_rle(self.mask),
            "bbox": [left, top, right - left, bottom - top],
            "area": self.area,
            "iscrowd": 0,
            "score": self.score,
            "presence": self.presence,
            "label": self.label,
        }

    def to_supervision(self) -> Any:
        """``supervision.Detections`` of this object alone; see :func:`to_supervision`."""
        return to_supervision([self])


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Predictions on one frame of a video or session.

    Attributes:
        index: of the frame, from 0.
        frame: ``uint8[H, W, 3]`` RGB.
        predictions: in the order of the instructions, at least one for each.
        time: of the frame, in seconds by the clock of its source; ``None`` for an image.
        keys: key frame of the language model by id of the instruction; without a stride, ``index``.
    """

    index: int
    frame: np.ndarray
    predictions: list[Prediction]
    time: float | None = None
    keys: Mapping[int, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        height, width = self.frame.shape[:2]
        time = "" if self.time is None else f" at {self.time:.3f} s"
        told = [f"'{one.label}' " + (f"#{one.id}" if one.found else "not found") for one in self.predictions]
        return f"<FrameResult {self.index}{time}: {', '.join(told) or 'nothing asked'}, in {height}x{width}>"

    def of(self, instruction_id: int) -> list[Prediction]:
        """Predictions of an instruction, by its place in the call or its id in a session; may be empty."""
        return [one for one in self.predictions if one.instruction_id == instruction_id]

    def plot(self) -> np.ndarray:
        """All masks drawn over the frame, with a caption below, ``uint8[H', W, 3]`` RGB."""
        return draw_predictions(self.frame, self.predictions)

    def to_supervision(self) -> Any:
        """``supervision.Detections`` of the objects that were found; see :func:`to_supervision`."""
        return to_supervision(self.predictions)


def to_supervision(predictions: Sequence[Prediction], oriented: bool = False) -> Any:
    """``supervision.Detections`` of the objects that were found, in order.

    ``class_id`` is ``instruction_id``, ``tracker_id`` the id, and ``data["class_name"]`` the label.

    Args:
        predictions: of one frame.
        oriented: whether ``data["xyxyxyxy"]`` has the smallest rectangle of any angle around each mask, by
            which supervision then measures and anchors in place of the upright box.

    Raises:
        ImportError: supervision is missing.
    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError("to_supervision needs an extra package: pip install supervision") from error

    found = [one for one in predictions if one.found]
    if not found:
        return supervision.Detections.empty()
    data: dict[str, Any] = {"class_name": np.array([one.label for one in found])}
    if oriented:
        data["xyxyxyxy"] = np.stack([smallest_rectangle(one.mask) for one in found])
    return supervision.Detections(
        xyxy=np.array([one.box for one in found], np.float32),
        mask=np.stack([one.mask for one in found]),
        confidence=np.array([one.score for one in found], np.float32),
        class_id=np.array([one.instruction_id for one in found]),
        tracker_id=np.array([one.id for one in found]),
        data=data,
    )


MaskPrediction = Prediction
"""Earlier name of :class:`Prediction`."""
