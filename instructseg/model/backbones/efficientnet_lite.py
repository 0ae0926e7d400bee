"""EfficientNet-Lite (arXiv 1905.11946, its Lite variant): a small convolutional trunk for CPUs.

Public weights: RangiLyu/EfficientNet-Lite, Apache-2.0.

No squeeze-and-excitation, ReLU6 throughout, the stem is not scaled. Pixels are ``(x - 127) / 128`` of raw
values 0..255. Padding is TensorFlow's "same": an uneven one has its extra row or column on the far side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from instructseg.model.backbones.backbone import LEVELS, Backbone

# repeats, kernel, stride, expansion, channels; the strides of the maps end with stages 1, 2, 4 and 6
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_MAPS = (1, 2, 4, 6)
_STEM = 32
NORM_EPS = 1e-3
"""Of the batch norms."""


@strict
class EfficientNetLiteConfig(PreTrainedConfig):
    """Scaling of the trunk, width and depth: Lite0 (1, 1), Lite1 (1, 1.1), Lite2 (1.1, 1.2), Lite3 (1.2, 1.4).

    Attributes:
        width: factor of the channels, rounded to multiples of 8.
        depth: factor of the repeats, rounded up; the first and the last stage keep theirs.
        folded: whether the batch norms are part of the convolutions: as frozen norms, and faster.
    """

    model_type = "efficientnet_lite"
    width: float = 1.0
    depth: float = 1.0
    folded: bool = False

    @property
    def num_stages(self) -> int:
        """Stages of blocks."""
        return len(_STAGES)

    def channels(self, base: int) -> int:
        """``base`` scaled to a multiple of 8 that is at least nine tenths of it."""
        scaled = base * self.width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * scaled else rounded

    def repeats(self, stage: int) -> int:
        """Blocks of a stage, 0..6."""
        base = _STAGES[stage][0]
        return base if stage in (0, len(_STAGES) - 1) else math.ceil(self.depth * base)


class SameConv(nn.Conv2d):
    """A convolution, padded so that the output has ``ceil(size / stride)`` rows and columns."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``float[N, I, H, W]`` to ``float[N, O, ceil(H/s), ceil(W/s)]``."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        down, across = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in x.shape[-2:])
        if down == across and down % 2 == 0:
            return F.conv2d(x, self.weight, self.bias, stride, down // 2, 1, self.groups)
        padding = (across // 2, across - across // 2, down // 2, down - down // 2)
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, stride, 0, 1, self.groups)


@dataclass(frozen=True)
class Step:
    """A convolution and its norm, or the convolution that is both."""

    folded: bool

    def __call__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> nn.Sequential:
        """Module that gives ``float[N, outputs, ceil(H / stride), ceil(W / stride)]``."""
        convolution = SameConv(inputs, outputs, kernel, stride, groups, bias=self.folded)
        norm = nn.Identity() if self.folded else nn.BatchNorm2d(outputs, eps=NORM_EPS, momentum=0.01)
        return nn.Sequential(convolution, norm)


class InvertedResidual(nn.Module):
    """Widening, a convolution per channel, narrowing; the input is added where the shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, folded: bool = False
    ) -> None:
        super().__init__()
        wide, step = inputs * expansion, Step(folded)
        self.expand = None if expansion == 1 else step(inputs, wide, 1)
        self.depthwise = step(wide, wide, kernel, stride, groups=wide)
        self.project = step(wide, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``float[N, I, H, W]`` to ``float[N, O, H/s, W/s]``."""
        wide = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(wide)))
        return out + x if self.adds else out


class EfficientNetLiteTrunk(Backbone):
    """The blocks in seven stages; the head before the classifier is left out."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.config = config
        self.stem = Step(config.folded)(3, _STEM, 3, 2)
        stages, inputs = [], _STEM
        for stage, (_, kernel, stride, expansion, base) in enumerate(_STAGES):
            blocks, outputs = [], config.channels(base)
            for block in range(config.repeats(stage)):
                blocks.append(
                    InvertedResidual(inputs, outputs, kernel, 1 if block else stride, expansion, config.folded)
                )
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.dims = {level: config.channels(_STAGES[at][4]) for level, at in zip(LEVELS, _MAPS, strict=True)}

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """As of :class:`Backbone`."""
        x = F.relu6(self.stem(pixels))
        maps = {}
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _MAPS:
                maps[LEVELS[_MAPS.index(number)]] = x
        return maps

    @staticmethod
    def widest(config: Any, size: int) -> int:
        """As of :class:`Backbone`: the first widened maps, at half and a quarter of the size."""
        wide = 6 * config.channels(_STAGES[0][4])
        return (size // 2) ** 2 * wide + 2 * (size // 4) ** 2 * wide


_HEAD = ("_conv_head.", "_bn1.", "_fc.")
"""Prefixes of the classifier and the layer before it, which a backbone lacks."""
_CONVOLUTIONS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def load_efficientnet_lite(trunk: EfficientNetLiteTrunk, public: Mapping[str, torch.Tensor]) -> None:
    """Loads a public state dict into a trunk, in place and strictly.

    Args:
        trunk: of the same scaling.
        public: keys such as ``_conv_stem.weight`` and ``_blocks.3._bn1.running_mean``; norms are folded into
            the convolutions where the trunk's are.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape.
    """
    places = _block_places(trunk.config)
    state = {}
    for name, tensor in public.items():
        if name.startswith(_HEAD):
            continue
        state[_own_name(name, places)] = tensor
    if trunk.config.folded:
        state = _folded(state)
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


def _folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Batch norms in evaluation (``.1``) as part of the convolutions before them (``.0``)."""
    folded = {}
    for name, weight in state.items():
        step, _, part = name.rpartition(".0.")
        if part != "weight":
            continue
        try:
            scale, shift, mean, variance = (
                state[f"{step}.1.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise ValueError(f"these are no weights of an EfficientNet-Lite: {error} is missing") from error
        gain = scale / (variance + NORM_EPS).sqrt()
        folded[name] = weight * gain[:, None, None, None]
        folded[f"{step}.0.bias"] = shift - mean * gain
    return folded
