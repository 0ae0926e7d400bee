"""VisionLLM (v1, arXiv 2305.11175): boxes and polygons of classes that the prompt names.

No code and no weights of v1 were released; this is built from the paper. Letters as in
:mod:`instructseg.systems.visionllm.format_queries`; ``R`` is half the number of location bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertModel, LlamaForCausalLM

from instructseg.model.stored import StoredModel
from instructseg.systems.visionllm.class_dictionary import OutputFormat
from instructseg.systems.visionllm.format_queries import FormatQueries, attention_mask, bound_names, positions
from instructseg.systems.visionllm.guided_tokenizer import GuidedTokenizer, ImageTokens
from instructseg.systems.visionllm.visionllm_config import VisionLLMConfig


@dataclass(frozen=True, eq=False)
class ObjectLogits:
    """What the blocks answer.

    Attributes:
        classes: ``float[B, K, classes + 1]``; the last is no object.
        places: ``float[B, K, F - 1, 2 R + 1]``, offsets from the location of the block's image token: x and y
            of each corner.
    """

    classes: torch.Tensor
    places: torch.Tensor

    def offsets(self) -> torch.Tensor:
        """``float[B, K, N, 2]``, -1..1: the mean of bins near the likeliest (ours; the paper's is that one)."""
        share = self.places.float().softmax(-1)
        bins = torch.arange(share.shape[-1], device=share.device)
        share = share * ((bins - share.argmax(-1, keepdim=True)).abs() <= NEAR)
        half = (share.shape[-1] - 1) / 2
        mean = (share * (bins - half)).sum(-1) / share.sum(-1)
        return (mean / half).unflatten(-1, (-1, 2))


NEAR = 6
"""Bins around the likeliest that take part in the mean."""


class VisionLLM(StoredModel):
    """The model: prompt and image to image tokens, image tokens to classes and places."""

    config_class = VisionLLMConfig
    base_model_prefix = ""
    _supports_sdpa = True
    _tied_weights_keys = {"language.lm_head.weight": "language.model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: VisionLLMConfig) -> None:
        super().__init__(config)
        width = config.language_config.hidden_size
        self.text = BertModel(config.text_config, add_pooling_layer=False)
        self.tokenizer = GuidedTokenizer(
            config.detector_config, config.text_config.hidden_size, config.trained_norms
        )
        self.language = LlamaForCausalLM(config.language_config)
        self.queries = FormatQueries(width)
        self.enter = nn.Linear(config.detector_config.d_model, width)
        self.place = nn.Linear(4 * _WAVES, width)
        if config.lora is not None:
            _add_lora(self.language, config.lora)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: parts initialize themselves."""

    def encode(self, pixels: torch.Tensor, text_ids: torch.Tensor, text_mask: torch.Tensor) -> ImageTokens:
        """Image tokens of a batch, guided by the text.

        Args:
            pixels: ``float[B, 3, H, W]``, normalized.
            text_ids, text_mask: ``int64[B, T']`` and ``bool[B, T']``, the prompt for the text encoder.
        """
        states = self.text(text_ids, text_mask.long()).last_hidden_state
        return self.tokenizer(pixels, states, ~text_mask)

    def decode(
        self,
        found: ImageTokens,
        ids: torch.Tensor,
        mask: torch.Tensor,
        output: OutputFormat,
        tokens: torch.Tensor | None = None,
    ) -> ObjectLogits:
        """Classes and places of image tokens, all in one forward.

        Args:
            found: of :meth:`encode`.
            ids, mask: ``int64[B, T]`` and ``bool[B, T]``, the prompt in tokens of the language model.
            output: the format, the same for all rows.
            tokens: ``int64[B, K]``, image tokens to decode; ``None`` for all. The others change nothing.
        """
        size, count = found.states.shape[:2]
        if tokens is None:
            tokens = torch.arange(count, device=ids.device).expand(size, -1)
        rows, first = self.language.model.embed_tokens(ids), self.config.first_class
        spots, names = bound_names(rows, ids - first, self.config.classes)
        entered = self.enter(found.states)
        images = entered + self.place(_waves(found.locations[:, -1].detach()).to(entered.dtype))
        own = images.gather(1, tokens[..., None].expand(-1, -1, images.shape[-1]))
        queries = self.queries(output)
        blocks = own[:, :, None] + queries  # (B, K, F, C)
        embedded = torch.cat([rows + spots @ names, images, blocks.flatten(1, 2)], dim=1)
        seen = attention_mask(mask, tokens, count, len(queries))
        states = self.language.model(
            inputs_embeds=embedded,
            attention_mask=seen,
            position_ids=positions(mask, count, tokens.shape[1], len(queries)),
            use_cache=False,
        ).last_hidden_state
        states = states[:, mask.shape[1] + count :].unflatten(1, blocks.shape[1:3])
        table, config = self.language.lm_head.weight, self.config
        classes = states[:, :, 0] @ table[config.first_class : config.first_location].T
        likeness = entered.gather(1, tokens[..., None].expand(-1, -1, entered.shape[-1])) @ names.mT
        classes = classes + F.pad(likeness, (0, 1))
        return ObjectLogits(classes, states[:, :, 1:] @ table[config.first_location :].T)


_WAVES = 6


def _waves(places: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of places ``float[..., 2]``, ``float[..., 24]``."""
    scale = math.pi * 2.0 ** torch.arange(_WAVES, device=places.device, dtype=places.dtype)
    angles = (places[..., None] * scale).flatten(-2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _add_lora(language: nn.Module, settings: dict) -> None:
    """Adapters in place; the table of tokens stays trainable, for class and location tokens."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = list(settings["targets"])
    inject_adapter_in_model(
        LoraConfig(r=settings["r"], lora_alpha=settings["alpha"], target_modules=targets), language
    )
    for name, parameter in language.named_parameters():
        parameter.requires_grad_("lora_" in name or "embed_tokens" in name or "lm_head" in name)
