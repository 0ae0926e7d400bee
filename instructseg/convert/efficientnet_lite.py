"""Public weights of EfficientNet-Lite (RangiLyu/EfficientNet-Lite, Apache-2.0) for our trunk."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from instructseg.model.backbones import EfficientNetLiteConfig, EfficientNetLiteTrunk

_HEAD = ("_conv_head.", "_bn1.", "_fc.")
"""The classifier and the widening before it, which a backbone does not have."""
_CONVOLUTIONS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def load_efficientnet_lite(trunk: EfficientNetLiteTrunk, public: Mapping[str, torch.Tensor]) -> None:
    """Fills a trunk from a public state dict, in place and strictly.

    Args:
        trunk: of the same scaling.
        public: keys such as ``_conv_stem.weight`` and ``_blocks.3._bn1.running_mean``.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape.
    """
    places = _block_places(trunk.config)
    state = {}
    for name, tensor in public.items():
        if name.startswith(_HEAD):
            continue
        state[_own_name(name, places)] = tensor
    try:
        trunk.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"these are no weights of an EfficientNet-Lite of that scaling: {reason}") from error


def _block_places(config: EfficientNetLiteConfig) -> list[str]:
    """Prefix of each public block in the trunk, in order."""
    return [
        f"stages.{stage}.{block}"
        for stage in range(config.num_stages)
        for block in range(config.repeats(stage))
    ]


def _own_name(name: str, places: list[str]) -> str:
    """The trunk's name of a public tensor."""
    first, _, rest = name.partition(".")
    if first in ("_conv_stem", "_bn0"):
        return f"stem.{0 if first == '_conv_stem' else 1}.{rest}"
    number, _, rest = rest.partition(".")
    part, _, kind = rest.partition(".")
    if first != "_blocks" or not number.isdigit() or int(number) >= len(places) or part not in _CONVOLUTIONS:
        raise ValueError(f"tensor '{name}' has no place in an EfficientNet-Lite trunk of that scaling")
    return f"{places[int(number)]}.{_CONVOLUTIONS[part]}.{kind}"
