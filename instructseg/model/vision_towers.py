"""Vision towers of the language side: SigLIP by transformers, any OpenCLIP model, or the mask backbone itself.

A tower is a module with ``forward(pixels float[N, 3, S, S]) -> float[N, P, width]`` that returns the
selected hidden state; layers after it are not built.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from instructseg.files import read_json
from instructseg.model.backbones import Backbone


class SiglipTower(nn.Module):
    """SigLIP up to the selected layer; no final norm and no pooling head (their weights do nothing here)."""

    def __init__(self, config: SiglipVisionConfig, feature_layer: int) -> None:
        super().__init__()
        used = copy.deepcopy(config)
        used.num_hidden_layers = selected_depth(config.num_hidden_layers, feature_layer)
        used.vision_use_head = False
        self.model = SiglipVisionModel(used)
        self.model.add_module("post_layernorm", nn.Identity())
        self.width = config.hidden_size

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """``float[N, 3, S, S]`` to ``float[N, P, width]``."""
        expected = self.model.config.image_size
        if tuple(pixels.shape[-2:]) != (expected, expected):
            height, width = pixels.shape[-2:]
            raise ValueError(f"SigLIP pixels are {height}x{width}; this model takes {expected}x{expected}")
        return self.model(pixels).last_hidden_state


class SharedTower(nn.Module):
    """Tokens from the cells of the mask backbone's coarsest map, without a trunk of its own.

    The backbone is an argument of each call, so that the model holds its weights once.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.width = dims["res5"]

    def forward(self, pixels: torch.Tensor, backbone: Backbone) -> torch.Tensor:
        """``float[N, 3, S, S]`` to ``float[N, (S/32)^2, width]``, row by row."""
        if pixels.shape[-2] % 32 or pixels.shape[-1] % 32:
            height, width = pixels.shape[-2:]
            raise ValueError(f"pixels of a shared tower are {height}x{width}; sides must be multiples of 32")
        return backbone(pixels)["res5"].flatten(2).transpose(1, 2)


class OpenClipTower(nn.Module):
    """An OpenCLIP model's image trunk, cut after the selected block (timm ViT or OpenCLIP's own)."""

    def __init__(self, model: str | dict[str, Any], feature_layer: int) -> None:
        super().__init__()
        trunk: Any = _open_clip_trunk(model)
        blocks = trunk.blocks if hasattr(trunk, "blocks") else trunk.transformer.resblocks
        depth = selected_depth(len(blocks), feature_layer)
        del blocks[depth:]
        self.model = trunk
        self.prefix_tokens = int(getattr(trunk, "num_prefix_tokens", 0 if hasattr(trunk, "blocks") else 1))
        self.width = int(getattr(trunk, "embed_dim", 0) or trunk.transformer.width)
        self._tokens: torch.Tensor | None = None
        blocks[-1].register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        self._tokens = output

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """``float[N, 3, S, S]`` to ``float[N, P, width]``; class tokens are dropped."""
        self.model.forward_features(pixels) if hasattr(self.model, "forward_features") else self.model(pixels)
        assert self._tokens is not None
        tokens, self._tokens = self._tokens, None
        return tokens[:, self.prefix_tokens :]


def _open_clip_trunk(model: str | dict[str, Any]) -> nn.Module:
    """The image trunk of an OpenCLIP model given by name, by a JSON file or by its configuration."""
    try:
        import open_clip
    except ImportError as error:
        raise ImportError("OpenCLIP towers need an extra package: pip install open_clip_torch") from error
    if isinstance(model, str) and model.endswith(".json"):
        model = read_json(model)
    if isinstance(model, str):
        clip = open_clip.create_model(model, pretrained=None)
    else:
        clip = open_clip.CustomTextCLIP(
            **{k: v for k, v in model.items() if k.endswith("_cfg") or k == "embed_dim"}
        )
    return getattr(clip.visual, "trunk", clip.visual)


def selected_depth(layers: int, feature_layer: int) -> int:
    """Number of layers that compute hidden state ``feature_layer`` of a tower with ``layers`` layers.

    Raises:
        ValueError: the tower has no such hidden state.
    """
    depth = feature_layer if feature_layer >= 0 else layers + 1 + feature_layer
    if not 1 <= depth <= layers:
        raise ValueError(f"vision_feature_layer {feature_layer} is outside a tower of {layers} layers")
    return depth


def build_projector(vision_dim: int, text_dim: int) -> nn.Sequential:
    """``mlp2x_gelu``: SigLIP tokens to the width of the language model."""
    return nn.Sequential(nn.Linear(vision_dim, text_dim), nn.GELU(), nn.Linear(text_dim, text_dim))
