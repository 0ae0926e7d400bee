"""Chameleon of transformers that may emit the tokens of images.

``ChameleonForConditionalGeneration`` gives all of them a logit of minus infinity, as Meta's release is without
them; Lumina-mGPT, which is of the same layers, was trained to emit them.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import ChameleonForConditionalGeneration
from transformers.modeling_outputs import CausalLMOutputWithPast

from instructseg.systems.sequence.prefix_decoder import CACHE
from instructseg.systems.sequence.token_loss import token_losses


class ImageChameleon(ChameleonForConditionalGeneration):
    """The same weights and the same arguments; logits of image tokens are as computed."""

    z_loss = 1e-5
    """Weight of the z-loss beside the cross-entropy, where labels are given."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **inputs: Any,
    ) -> CausalLMOutputWithPast:
        """As in transformers, without its mask of image tokens.

        Args:
            input_ids: ``int64[B, T]``.
            labels: ``int64[B, T]``, the same tokens, -100 where none is learned.
            logits_to_keep: number of last positions whose logits are computed, or their places; 0 for all.
            inputs: of ``ChameleonModel``.
        """
        outputs = self.model(input_ids=input_ids, **inputs)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits, loss = self.lm_head(outputs[0][:, kept]), None
        if labels is not None:
            following = labels[:, 1:]
            losses = token_losses(logits[:, :-1], following.clamp(min=0), self.z_loss)
            loss = losses[following != -100].mean()
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: outputs[CACHE]})
