"""Trackers by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from instructseg.inference.propagation.flow_tracker import FlowTracker
from instructseg.inference.propagation.mask_tracker import MaskTracker

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
    if name not in SAM2 and "/" not in name and not Path(name).is_dir():
        known = ", ".join((OFF, FLOW, *SAM2))
        raise ValueError(f"unknown tracker {name!r}: use {known}, a folder, or owner/name of a repository")
    from instructseg.inference.propagation.sam2_tracker import Sam2Tracker, load_sam2

    model = load_sam2(SAM2.get(name, name), device)
    return lambda: Sam2Tracker(model)
