"""Inputs and outputs of detection frameworks: one dictionary per instruction.

Given to the model::

    image         uint8[3, H, W], RGB
    instruction   what to segment
    height, width of the answer, in pixels; by default of the image
    task          value of a Task; by default "res"
    references    uint8[3, H, W] each, other frames in the order of time
    category_id   what pred_classes of the answer is, by default 0; of instances, those of this class are meant
    instances     the truth: gt_masks, one per target; with none, nothing in the image answers
    ignore        bool[H, W], pixels that do not count
    distractors   masks of other things
    answer, explain, name, meta    as in Sample

Answered::

    instances     of size height x width, best first:
                  pred_masks bool[N, height, width], pred_boxes, scores float[N] 0..1, pred_classes int64[N]
    presence      0..1, how surely anything in the image answers

With ``frames`` (T images ``uint8[H, W, 3]`` in a sequence) instead of ``image``, every frame is asked for;
the truth is ``masks``, ``uint8[T, H, W]``, and the answer ``frames``, the instances of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from instructseg.structures import IGNORE_PIXEL, Sample, Task

Entry = dict[str, Any]


def to_sample(entry: Mapping[str, Any]) -> Sample:
    """Sample from a model input; an ignored pixel is ignored in all masks.

    Raises:
        ValueError: there is no instruction or image, an image is not ``uint8[3, H, W]``, masks are polygons.
    """
    if not entry.get("instruction"):
        raise ValueError("an input has no 'instruction': write there what to segment")
    if "image" not in entry:
        raise ValueError("an input has no 'image': train on samples, whole videos are for evaluation")
    masks = _targets(entry).astype(np.uint8) if "instances" in entry else None
    if masks is not None and "ignore" in entry:
        masks[:, entry["ignore"].cpu().numpy()] = IGNORE_PIXEL
    return Sample(
        key_frame=pixels(entry["image"]),
        instruction=entry["instruction"],
        task=Task(entry.get("task", Task.RES)),
        reference_frames=tuple(pixels(frame) for frame in entry.get("references", ())),
        masks=masks,
        distractors=bits(entry["distractors"]).astype(np.uint8) if "distractors" in entry else None,
        answer=entry.get("answer"),
        explain=entry.get("explain", False),
        name=entry.get("name", str(entry.get("file_name", ""))),
        meta=entry.get("meta", {}),
    )


def truth(entry: Mapping[str, Any]) -> np.ndarray:
    """``uint8[H, W]``: 1 on any target, 255 to ignore.

    Raises:
        ValueError: there is no truth.
    """
    if "instances" not in entry:
        name = entry.get("name", entry.get("file_name", ""))
        raise ValueError(
            f"input '{name}' has no 'instances' to compare with: take a mapper that keeps the truth"
        )
    union: np.ndarray = np.any(_targets(entry), axis=0).astype(np.uint8)
    if "ignore" in entry:
        union[entry["ignore"].cpu().numpy()] = IGNORE_PIXEL
    return union


def _targets(entry: Mapping[str, Any]) -> np.ndarray:
    """``bool[N, H, W]``, the target masks."""
    instances = entry["instances"]
    if "category_id" in entry:
        instances = instances[instances.gt_classes == entry["category_id"]]
    return bits(instances.gt_masks)


def planes(frame: np.ndarray) -> torch.Tensor:
    """``uint8[H, W, 3]`` to ``uint8[3, H, W]``."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))


def pixels(image: torch.Tensor) -> np.ndarray:
    """``uint8[3, H, W]`` to ``uint8[H, W, 3]``; raises ``ValueError`` for anything else."""
    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
        raise ValueError(f"an image is {image.dtype} {list(image.shape)}, expected uint8 [3, H, W] in RGB")
    return np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0))


def bits(masks: Any) -> np.ndarray:
    """``bool[N, H, W]`` of bit masks or of a tensor.

    Raises:
        ValueError: they are polygons.
    """
    tensor = getattr(masks, "tensor", masks)
    if not isinstance(tensor, torch.Tensor):
        kind = type(masks).__name__
        raise ValueError(f"masks are {kind}, expected bits: give the mapper instance_mask_format='bitmask'")
    return tensor.bool().cpu().numpy()
