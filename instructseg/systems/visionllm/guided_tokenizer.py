"""Language-guided image tokenizer: Deformable DETR whose feature maps look at the prompt (section 3.3).

Letters: ``B`` rows, ``T`` text tokens, ``D`` channels of the text, ``M`` image tokens, ``E`` their channels,
``L`` layers of the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import DeformableDetrConfig, DeformableDetrModel
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrFrozenBatchNorm2d


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """The objects that the tokenizer proposes, T = {(e_i, l_i)} in the paper.

    Attributes:
        states: e, ``float[B, M, E]``.
        locations: l, ``float[B, L, M, 2]``: centres after each layer, x and y as shares of the sides, 0..1.
        objectness: ``float[B, L, M]``, logits of being an object of the prompt, of whatever class.
    """

    states: torch.Tensor
    locations: torch.Tensor
    objectness: torch.Tensor


class GuidedProjection(nn.Module):
    """Projection of one feature map, of Deformable DETR, which then attends to the text."""

    def __init__(self, projection: nn.Module, channels: int, text_channels: int, heads: int) -> None:
        super().__init__()
        self.projection = projection
        sizes = {"kdim": text_channels, "vdim": text_channels}
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True, **sizes)
        self.norm = nn.LayerNorm(channels)
        self.text: tuple[torch.Tensor, torch.Tensor] | None = None
        """States ``float[B, T, D]`` and padding ``bool[B, T]``; set by the tokenizer for one forward."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``float[B, C, h, w]`` to ``float[B, E, h, w]``."""
        assert self.text is not None
        states, padding = self.text
        maps = self.projection(features)
        cells = maps.flatten(2).mT
        seen, _ = self.attention(cells, states, states, key_padding_mask=padding, need_weights=False)
        return self.norm(cells + seen).mT.reshape(maps.shape)


class GuidedTokenizer(nn.Module):
    """The tokenizer; each layer of its decoder moves the centres, as in Deformable DETR with box refinement."""

    def __init__(self, config: DeformableDetrConfig, text_channels: int, trained_norms: bool) -> None:
        super().__init__()
        self.detector = DeformableDetrModel(config)
        self.detector.unfreeze_backbone()  # transformers freezes the early layers of a ResNet
        if trained_norms:
            _train_norms(self.detector)
        width, heads = config.d_model, config.encoder_attention_heads
        self.detector.input_proj = nn.ModuleList(
            GuidedProjection(one, width, text_channels, heads) for one in self.detector.input_proj
        )
        layers = config.decoder_layers
        moves = [nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)) for _ in range(layers)]
        decoder: Any = self.detector.decoder
        decoder.bbox_embed = nn.ModuleList(moves)  # where Deformable DETR looks for them
        self.objectness = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))

    def forward(self, pixels: torch.Tensor, text: torch.Tensor, padding: torch.Tensor) -> ImageTokens:
        """Image tokens of a batch.

        Args:
            pixels: ``float[B, 3, H, W]``, normalized.
            text: ``float[B, T, D]``.
            padding: ``bool[B, T]``, true where there is no token.
        """
        projections: Any = self.detector.input_proj
        for projection in projections:
            projection.text = (text, padding)
        found = self.detector(pixels)
        for projection in projections:
            projection.text = None  # no graph is kept
        states = found.intermediate_hidden_states
        first = found.init_reference_points.unsqueeze(1).expand(len(pixels), -1, -1, -1)
        before = torch.cat([first, found.intermediate_reference_points[:, :-1]], dim=1)
        heads: Any = self.detector.decoder.bbox_embed
        moves = [head(states[:, layer]) for layer, head in enumerate(heads)]
        locations = (torch.logit(before.float(), eps=1e-5) + torch.stack(moves, 1)).sigmoid()
        scores = [score(states[:, layer])[..., 0] for layer, score in enumerate(self.objectness)]
        return ImageTokens(states[:, -1], locations, torch.stack(scores, 1))


def _train_norms(module: nn.Module) -> None:
    """Replaces frozen BatchNorm, which is no norm before it is loaded, and GroupNorm, by BatchNorm.

    The backward of GroupNorm after a convolution crashed with torch 2.13 on CPUs with oneDNN.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, DeformableDetrFrozenBatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(len(child.weight)))
        elif isinstance(child, nn.GroupNorm):
            setattr(module, name, nn.BatchNorm2d(child.num_channels))
        else:
            _train_norms(child)
