"""InstructSeq (arXiv 2311.18835): image and instruction in, a sequence of tokens out.

No code and no weights were released; this is built from the paper. Letters: ``B`` rows, ``L`` tokens of an
instruction, ``I`` image tokens, ``C`` width, ``T`` tokens of an answer, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, LlamaForCausalLM, RobertaModel

from instructseg.model.stored import StoredModel
from instructseg.systems.instructseq.instructseq_config import InstructSeqConfig
from instructseg.systems.sequence.prefix_decoder import Prefix, PrefixDecoder
from instructseg.systems.sequence.visual_codes import VisualCodes


class InstructSeq(StoredModel):
    """The model: encoders of image and instruction, the transformer behind their tokens, and the VQ model."""

    config_class = InstructSeqConfig
    config: InstructSeqConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _tied_weights_keys = {  # noqa: RUF012  (the base class's protocol)
        "decoder.language.lm_head.weight": "decoder.language.model.embed_tokens.weight"
    }

    def __init__(self, config: InstructSeqConfig) -> None:
        super().__init__(config)
        width = config.language_config.hidden_size
        self.image: Any = AutoModel.from_config(config.image_config, trust_remote_code=False)
        self.text = RobertaModel(config.text_config, add_pooling_layer=False)
        self.enter_image = nn.Linear(_width_of(config.image_config), width)
        self.enter_colour = nn.Linear(3, width) if config.cell_colours else None
        self.gate = nn.Linear(config.text_config.hidden_size, width) if config.gated_image else None
        self.enter_text = nn.Linear(config.text_config.hidden_size, width)
        self.decoder = PrefixDecoder(LlamaForCausalLM(config.language_config))
        self.visual = VisualCodes(config.visual_config or {}, config.answer_size)
        if config.frozen_text:
            self.text.requires_grad_(False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: parts initialize themselves."""

    def read(self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> Prefix:
        """The prefix of answers: tokens of the instruction, then of the image.

        Args:
            pixels: ``float[B, 3, H, W]``, -1..1.
            ids, mask: ``int64[B, L]`` and ``bool[B, L]``, the instruction, padded at the left; a row without
                a token is unconditional.
        """
        seen = mask | ~mask.any(1, keepdim=True)  # attention needs something to see; the prefix leaves it out
        words = self.text(ids, seen.long()).last_hidden_state
        image = self.enter_image(self._image_states(pixels))
        if self.enter_colour is not None:
            side = math.isqrt(image.shape[1])
            image = image + self.enter_colour(F.adaptive_avg_pool2d(pixels, side).flatten(2).mT)
        if self.gate is not None:
            said = (words * mask[..., None]).sum(1) / mask.sum(1).clamp(min=1)[:, None].sqrt()
            image = image * (1 + self.gate(said)[:, None])
        states = torch.cat([self.enter_text(words), image], dim=1)
        return Prefix(states, torch.cat([mask, mask.new_ones(image.shape[:2])], dim=1))

    def forward(
        self, pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Logits ``float[B, T + 1, V]`` of answers ``int64[B, T]`` and of what follows; for training."""
        return self.decoder(self.read(pixels, ids, mask), tokens)

    def _image_states(self, pixels: torch.Tensor) -> torch.Tensor:
        """``float[B, I, C]``, row by row."""
        if (
            self.config.image_config.model_type == "vit_mae"
        ):  # its patches are shuffled by noise: keep the order
            patches = (pixels.shape[-1] // self.config.image_config.patch_size) ** 2
            order = torch.arange(patches, device=pixels.device, dtype=pixels.dtype).expand(len(pixels), -1)
            return self.image(pixels, noise=order).last_hidden_state[:, 1:]
        states = self.image(pixels).last_hidden_state
        return states.flatten(2).mT if states.ndim == 4 else states


def _width_of(config: Any) -> int:
    """Width of the last states of an image encoder."""
    return int(config.hidden_sizes[-1] if hasattr(config, "hidden_sizes") else config.hidden_size)
