"""Trackers by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from instructseg.inference.propagation.flow_tracker import FlowTracker, flow_memory
from instructseg.inference.propagation.mask_tracker import MaskTracker, TrackerMemory

OFF, FLOW = "off", "flow"
SAM2 = {f"sam2.1-{size}": f"facebook/sam2.1-hiera-{size}" for size in ("tiny", "small", "base-plus", "large")}
"""Repositories of the Hugging Face hub, by short name."""


def tracker_maker(name: str, device: torch.device) -> Callable[[], MaskTracker] | None:
    """What makes a new tracker for each pass; ``None`` for ``off``.

    Args:
        name: ``off``, ``flow``, a name of :data:`SAM2`, or a folder or ``owner/name`` of a repository with a
            SAM 2 video model of transformers.
        device: where the model of a tracker runs.

    Raises:
        FileNotFoundError: the repository is not available.
        ValueError: an unknown name, or no SAM 2 video model.
    """
    if name == OFF:
        return None
    if name == FLOW:
        return FlowTracker
    from instructseg.inference.propagation.sam2_tracker import Sam2Tracker, load_sam2

    model = load_sam2(_repository(name), device)
    return lambda: Sam2Tracker(model)


def tracker_memory(
    name: str, frame_size: tuple[int, int], objects: int, lookahead: int = 0, cpu: bool = True
) -> TrackerMemory:
    """Memory of tracking, in that of the device where the model of a tracker runs.

    Args:
        name: as of :func:`tracker_maker`.
        frame_size: height and width in pixels.
        objects: that are tracked.
        lookahead: frames of a file that are held back together, each with two masks of every object: the
            model's and the one that is shown; they are tracked backward, too.
        cpu: whether the device is the CPU, where frames and masks lie, and the optical flow.

    Raises:
        FileNotFoundError, ValueError: as of :func:`tracker_maker`.
    """
    if name == OFF or (name == FLOW and not cpu):
        return TrackerMemory(0, 0, 0)
    if name == FLOW:
        found = flow_memory(frame_size, objects)
    else:
        from instructseg.inference.propagation.sam2_tracker import sam2_memory

        found = sam2_memory(_repository(name), objects)
    passes = 2 if lookahead > 1 else 1
    waiting = lookahead * frame_size[0] * frame_size[1] * (3 + 2 * objects) if cpu else 0
    return TrackerMemory(found.weights, passes * found.held + waiting, found.step)


def _repository(name: str) -> str:
    """Folder or repository of a SAM 2 model."""
    if name not in SAM2 and "/" not in name and not Path(name).is_dir():
        known = ", ".join((OFF, FLOW, *SAM2))
        raise ValueError(f"unknown tracker {name!r}: use {known}, a folder, or owner/name of a repository")
    return SAM2.get(name, name)
