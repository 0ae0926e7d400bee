"""Vision-guided Multi-granularity Text Fusion (VMTF), section 3.3 of the paper: text to mask classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from instructseg.model.perceiver import Perceiver

# B rows, T instruction tokens, D language width, V fusion width, C decoder width, S visual tokens


class TextFusion(nn.Module):
    """Fuses text states with fine-grained visual features into the classifier of the masks.

    ``mode`` selects the latents of the perceiver:

    * ``released``: the global (mean-pooled) token. The released code feeds the detailed tokens too, but
      only the global one is returned and nothing it reads depends on them; leaving them out gives the
      same numbers and is also the paper's global-only variant (Table 8).
    * ``paper``: global and detailed tokens attend to the image and to each other; the global one is returned.
    * ``detailed``: the detailed tokens alone; their mean is returned.
    * ``off``: no fusion; the pooled text alone is projected.
    """

    def __init__(
        self,
        text_dim: int,
        level_dims: Mapping[str, int],
        levels: Sequence[str],
        dim: int,
        perceiver: Perceiver | None,
        out_dim: int,
        mode: str,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.levels = tuple(levels) if perceiver is not None else ()
        self.perceiver = perceiver
        if perceiver is None:
            self.classifier = nn.Linear(text_dim, out_dim)
            return
        self.visual_proj = nn.ModuleDict({level: nn.Conv2d(level_dims[level], dim, 1) for level in self.levels})
        self.text_proj = nn.Linear(text_dim, dim)
        self.pooled_proj = nn.Linear(text_dim, dim)
        self.classifier = nn.Linear(2 * dim, out_dim)

    def encode_visual(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Backbone maps ``float[F, C_l, h, w]`` by level to ``float[F, S, V]``; ``None`` when fusion is off.

        Depends on the frame alone, so it is kept with the frame's features.
        """
        if self.perceiver is None:
            return None
        tokens = [self.visual_proj[level](maps[level]).flatten(2).transpose(1, 2) for level in self.levels]
        return torch.cat(tokens, dim=1)

    def forward(self, text: torch.Tensor, text_mask: torch.Tensor, visual: torch.Tensor | None) -> torch.Tensor:
        """The mask classifier of each row.

        Args:
            text: ``float[B, T, D]`` last hidden states of the instruction, its ``[SEG]`` included.
            text_mask: ``bool[B, T]``, false on padding.
            visual: ``float[B, S, V]`` of :meth:`encode_visual`, one per row.

        Returns:
            ``float[B, C]``.
        """
        pooled = masked_mean(text, text_mask)  # (B, D)
        if self.perceiver is None:
            return self.classifier(pooled)
        fused = self._fuse(pooled, text, text_mask, visual)
        return self.classifier(torch.cat((self.pooled_proj(pooled), fused), dim=-1))

    def _fuse(
        self, pooled: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor, visual: torch.Tensor | None
    ) -> torch.Tensor:
        assert self.perceiver is not None and visual is not None
        if self.mode == "released":
            return self.perceiver(self.text_proj(pooled[:, None]), visual)[:, 0]
        if self.mode == "detailed":
            return masked_mean(self.perceiver(self.text_proj(text), visual, latent_mask=text_mask), text_mask)
        latents = self.text_proj(torch.cat((pooled[:, None], text), dim=1))  # (B, 1+T, V)
        mask = torch.cat((text_mask.new_ones(text.shape[0], 1), text_mask), dim=1)
        return self.perceiver(latents, visual, latent_mask=mask)[:, 0]


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``float[B, T, D]`` over the true positions of ``bool[B, T]``, at least one in each row."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1)
