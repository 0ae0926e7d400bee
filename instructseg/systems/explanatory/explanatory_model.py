"""Explanatory Instructions (arXiv 2412.18525): instruction and image in, an image of the same codes out.

Chameleon and Lumina-mGPT, which the paper fine-tunes, have one transformer for words and for codes of images.
Letters: ``B`` rows, ``L`` tokens of an instruction, ``h`` codes of a side, ``T`` tokens of an image with those
that start it, end its rows and end it, ``V`` vocabulary.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import nn
from transformers import ChameleonConfig, LlamaForCausalLM

from instructseg.model.stored import StoredModel
from instructseg.systems.explanatory.explanatory_config import ExplanatoryConfig
from instructseg.systems.explanatory.image_chameleon import ImageChameleon
from instructseg.systems.sequence.prefix_decoder import Prefix, PrefixDecoder
from instructseg.systems.sequence.visual_codes import VisualCodes
from instructseg.systems.sequence.vocabulary import AnswerForms


class Explanatory(StoredModel):
    """The model: a transformer over one vocabulary, and the codec of images.

    Args:
        config: of all parts.
        language: the transformer; ``None`` for a new one.
        visual: the codec; ``None`` for a new one.
    """

    config_class = ExplanatoryConfig
    config: ExplanatoryConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _tied_weights_keys = {  # noqa: RUF012  (the base class's protocol)
        "decoder.language.lm_head.weight": "decoder.language.model.embed_tokens.weight"
    }

    def __init__(
        self, config: ExplanatoryConfig, language: Any = None, visual: VisualCodes | None = None
    ) -> None:
        super().__init__(config)
        kind = ImageChameleon if isinstance(config.language_config, ChameleonConfig) else LlamaForCausalLM
        self.decoder = PrefixDecoder(language or kind(config.language_config), config.causal_prefix)
        width = config.language_config.hidden_size
        self.gate = nn.Linear(width, width) if config.gated_image else None
        self.visual = visual or VisualCodes(config.visual_config or {}, config.image_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: parts initialize themselves."""

    @cached_property
    def forms(self) -> AnswerForms:
        """What may follow in an answer."""
        return self.config.answer_forms(self.visual.side)  # not in __init__, which may have no memory yet

    @cached_property
    def inside(self) -> torch.Tensor:
        """Which tokens of an image are codes, ``bool[T]``."""
        return self._fixed < 0

    @cached_property
    def _fixed(self) -> torch.Tensor:
        """``int64[T]``: tokens that every image has, -1 for those of codes."""
        steps = self.forms.forms[0].groups
        return torch.tensor([*(one if isinstance(one, int) else -1 for one in steps), self.config.image_end])

    @cached_property
    def _order(self) -> torch.Tensor:
        """``int64[K]``: number of each code's token among those of images."""
        return torch.tensor(self.config.code_order or range(self.visual.count))

    def tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """An image as it stands in a sequence: ``int64[B, h, h]`` to ``int64[B, T]``."""
        rows = self._fixed.to(codes.device).repeat(len(codes), 1)
        numbers = self._order.to(codes.device)[codes] + self.forms.vocabulary.first("image")
        rows[rows < 0] = numbers.flatten()
        return rows

    def codes(self, tokens: torch.Tensor) -> torch.Tensor:
        """Codes ``int64[B, h, h]`` of images ``int64[B, T]`` as :meth:`tokens` writes them."""
        inside = tokens[:, self.inside] - self.forms.vocabulary.first("image")
        return (
            self._order.argsort().to(tokens.device)[inside].unflatten(1, (self.visual.side, self.visual.side))
        )

    def read(self, codes: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> Prefix:
        """The prefix of answers: tokens of the instruction, then of the image.

        Args:
            codes: ``int64[B, h, h]``, of the input image.
            ids, mask: ``int64[B, L]`` and ``bool[B, L]``, the instruction, padded at the left; a row without
                a token is unconditional.
        """
        image = self.tokens(codes)
        between = image.new_tensor(self.config.before_answer or []).expand(len(image), -1)
        embed = self.decoder.language.model.embed_tokens
        words, states = embed(ids), embed(torch.cat([image, between], dim=1))
        if self.gate is not None:
            said = (words * mask[..., None]).sum(1) / mask.sum(1).clamp(min=1)[:, None].sqrt()
            states = states * (1 + self.gate(said)[:, None])
        real = mask.new_ones(states.shape[:2])
        return Prefix(torch.cat([words, states], dim=1), torch.cat([mask, real], dim=1))

    def forward(
        self, before: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, after: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``float[B, T, V]`` of the tokens of answers, and these ``int64[B, T]``; for training.

        Args:
            before: codes of input images, ``int64[B, h, h]``.
            ids, mask: as of :meth:`read`.
            after: codes of the images that are the answers.
        """
        answer = self.tokens(after)
        return self.decoder(self.read(before, ids, mask), answer[:, :-1]), answer
