"""Data contracts between data sets, processing, model, criterion and inference.

``data`` or the user makes a :class:`Sample`; ``processing`` turns it into :class:`ModelInputs`; the model
answers with a :class:`SegOutput`; ``criterion`` and ``inference`` read that, and ``inference`` returns a
``Prediction`` (:mod:`instructseg.prediction`).

Letters used in every shape of this package::

    B  rows of a batch: one instruction on one key frame each
    F  images of a batch: key frames with their references, shared by rows (F <= B)
    R  reference frames of a row             T  frames of a video
    L  length of the language sequence       D  width of the language model
    P  SigLIP tokens of one frame            K  perceiver queries of one reference frame
    Q  object queries (LLM mask tokens)      C  channels of the mask decoder
    N  target masks of a row, or a flat list H, W  pixels; h, w  cells of a feature map
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch

IGNORE_LABEL = -100
"""Label of a language position without a loss."""

IGNORE_PIXEL = 255
"""Value of a mask pixel ignored in training and evaluation."""


class Task(str, Enum):
    """Kind of request; selects the prompt (see ``processing.templates``)."""

    RES = "res"
    """Referring expression segmentation in an image (RefCOCO family)."""
    REASON_SEG = "reason_seg"
    """A question whose answer is a mask, in an image (ReasonSeg)."""
    RVOS = "rvos"
    """Referring expression segmentation in a video (Ref-YouTube-VOS, Ref-DAVIS17, MeViS)."""
    REASON_VOS = "reason_vos"
    """A question whose answer is a mask, in a video (ReVOS)."""
    VQA = "vqa"
    """A question whose answer is text; no mask."""

    @property
    def is_video(self) -> bool:
        """Whether the task uses reference frames besides the key frame."""
        return self in (Task.RVOS, Task.REASON_VOS)

    @property
    def has_mask(self) -> bool:
        """Whether the answer is a mask."""
        return self is not Task.VQA


class Role(IntEnum):
    """Content of a position of the language sequence."""

    PAD = 0
    TEXT = 1
    """An ordinary token of the prompt or of the answer."""
    REFER = 2
    """A token of the instruction, the closing ``[SEG]`` included; pooled into the mask classifier."""
    TEMPORAL = 3
    """An object-aware perceiver token of a reference frame (``<temporal>``)."""
    IMAGE = 4
    """A SigLIP token of the key frame (``<image>``)."""
    MASK = 5
    """An object query; its last hidden state becomes a query of the mask decoder (``<seg>``)."""


@dataclass(frozen=True)
class Geometry:
    """Resizing and padding of a frame for the mask branch; all sizes are ``(height, width)`` in pixels.

    The frame of size ``original`` is resized to ``resized`` and padded on the right and at the bottom
    to ``padded``.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sample:
    """One instruction on one key frame, from a data set or a user. An image is a one-frame video.

    Attributes:
        key_frame: ``uint8[H, W, 3]`` RGB, the frame to segment.
        instruction: the object to segment, or the question, as written.
        task: selects the prompt.
        reference_frames: ``uint8[H, W, 3]`` each, in temporal order; empty for an image, which is then
            its own reference.
        masks: ``uint8[N, H, W]``, 1 on the target, 0 elsewhere, :data:`IGNORE_PIXEL` where ignored;
            ``N = 0``: nothing in the frame matches; ``None``: the ground truth is unknown.
        distractors: ``uint8[M, H, W]``, masks of other objects in the frame, which teach objectness.
        answer: text to learn or to compare with: the explanation (ReasonSeg) or the reply (VQA).
        explain: whether the prompt asks for the explanation.
        name: identifies the sample in logs and results.
        meta: further data for an evaluator (ids, types); never read by the model.
    """

    key_frame: np.ndarray
    instruction: str
    task: Task
    reference_frames: tuple[np.ndarray, ...] = ()
    masks: np.ndarray | None = None
    distractors: np.ndarray | None = None
    answer: str | None = None
    explain: bool = False
    name: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """A batch, ready for :meth:`InstructSeg.forward`.

    Attributes:
        input_ids: ``int64[B, L]`` token ids; 0 where an embedding is filled in (see ``roles``).
        roles: ``int64[B, L]``, a :class:`Role` each.
        clip_pixels: ``float[F, 1+R, 3, S, S]`` SigLIP pixels: the key frame, then the references.
        num_references: ``int64[F]``, how many of the R references are real; 0 makes the key frame its
            own reference.
        seg_pixels: ``float[F, 3, H, W]`` normalised pixels of the key frame for the mask branch;
            ``None`` where no row asks for a mask.
        geometry: one per image; undoes resizing and padding.
        labels: ``int64[B, L]``, :data:`IGNORE_LABEL` on positions without a loss; ``None`` outside training.
        image_index: ``int64[B]``, the image of each row; ``None`` for one image per row, in order.
        keep_tokens: share of the key frame's tokens that the language model reads, above 0 and at most 1; for
            training (:func:`instructseg.model.tokens.thin`).
    """

    input_ids: torch.Tensor
    roles: torch.Tensor
    clip_pixels: torch.Tensor
    num_references: torch.Tensor
    seg_pixels: torch.Tensor | None = None
    geometry: tuple[Geometry, ...] = ()
    labels: torch.Tensor | None = None
    image_index: torch.Tensor | None = None
    keep_tokens: float = 1.0

    def __len__(self) -> int:
        """Rows."""
        return len(self.input_ids)

    @property
    def attention_mask(self) -> torch.Tensor:
        """``bool[B, L]``, true on real positions."""
        return self.roles != Role.PAD

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ModelInputs:
        """Moves the tensors to ``device``; casts the pixels (only) to ``dtype``."""
        moved: dict[str, Any] = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if hasattr(value, "to"):
                moved[entry.name] = value.to(device, dtype) if value.is_floating_point() else value.to(device)
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class SegOutput:
    """Output of the model for a batch.

    Attributes:
        mask_logits: ``float[B, Q, h, w]`` at a quarter of the padded size; positive inside.
        seg_logits: ``float[B, Q]``, similarity of each query with the instruction (mask score logit).
        aux: the same pair for the prediction before the first decoder layer and after each but the
            last, in order; empty unless requested.
        text_logits: ``float[M, V]`` next-token logits at the ``M`` positions whose following label is
            learned, rows in order; ``None`` without labels.
        mask_rows: ``int64[B']``, the rows of the batch that the first two describe; ``None`` for all.
    """

    mask_logits: torch.Tensor | None
    seg_logits: torch.Tensor | None
    aux: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    text_logits: torch.Tensor | None = None
    mask_rows: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class MaskTargets:
    """Ground truth of one row.

    Attributes:
        masks: ``float or bool[N, H, W]`` at the padded size of the mask branch (any multiple of the mask
            logits' size); ``N = 0`` where nothing in the image matches.
        is_answer: ``bool[N]``; other masks contribute to the mask losses alone; their queries stay
            negatives of the score. ``None`` for all true, as released.
        ignore: ``bool[H, W]``, pixels excluded from every loss (padding is included); ``None`` for none.
    """

    masks: torch.Tensor
    is_answer: torch.Tensor | None = None
    ignore: torch.Tensor | None = None
