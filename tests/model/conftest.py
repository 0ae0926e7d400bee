"""A model small enough for a test, with every part of the architecture, and batches for it."""

from __future__ import annotations

import pytest
import torch

from instructseg.model import InstructSeg, InstructSegConfig, preset
from instructseg.structures import ModelInputs, Role

TINY = {
    "vision_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    },
    "text_config": {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    },
    "backbone_config": {
        "image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 2,
    },
    "lm_head_size": 70, "ovp_queries": 3, "ovp_depth": 2, "ovp_heads": 2, "ovp_head_dim": 8,
    "vmtf_dim": 24, "vmtf_depth": 2, "vmtf_heads": 2, "vmtf_head_dim": 8,
    "conv_dim": 32, "mask_dim": 32, "pixel_decoder_layers": 1, "pixel_decoder_ff": 32,
    "num_queries": 4, "decoder_dim": 32, "decoder_heads": 2, "decoder_layers": 3, "decoder_ff": 32,
}  # fmt: skip


def tiny_config(**overrides: object) -> InstructSegConfig:
    return preset("instructseg-3b", **{**TINY, **overrides})


def tiny_model(seed: int = 0, **overrides: object) -> InstructSeg:
    torch.manual_seed(seed)
    model = InstructSeg(tiny_config(**overrides)).eval()
    with torch.no_grad():  # no norm or bias is left trivial
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "sampling_offsets" not in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def sequence(
    config: InstructSegConfig, references: int, refer: int, masks: bool = True, image: bool = True
) -> list[int]:
    """Roles of one row as the prompts have them."""
    roles = [Role.TEXT] * 3
    if references:
        roles += [Role.TEMPORAL] * (references * config.ovp_queries) + [Role.TEXT]
    roles += [Role.IMAGE] * (config.num_image_tokens if image else 0) + [Role.TEXT]
    roles += [Role.REFER] * refer + [Role.TEXT] * 2
    if masks:
        roles += [Role.MASK] * config.num_queries + [Role.TEXT]
    return [int(role) for role in roles]


def batch(
    config: InstructSegConfig, rows: list[tuple[int, int]], seed: int = 0, size: tuple[int, int] = (64, 96)
) -> ModelInputs:
    """One picture per row; a row is ``(references, refer tokens)``, 0 references an image."""
    generator = torch.Generator().manual_seed(seed)
    sequences = [sequence(config, max(references, 1), refer) for references, refer in rows]
    longest = max(map(len, sequences))
    roles = torch.tensor([s + [0] * (longest - len(s)) for s in sequences])
    ids = torch.randint(1, config.text_config.vocab_size, roles.shape, generator=generator)
    ids[(roles != Role.TEXT) & (roles != Role.REFER)] = 0
    frames = 1 + max(references for references, _ in rows)
    side = config.clip_size
    return ModelInputs(
        ids,
        roles,
        torch.randn(len(rows), frames, 3, side, side, generator=generator),
        torch.tensor([references for references, _ in rows]),
        torch.randn(len(rows), 3, *size, generator=generator),
    )


@pytest.fixture
def model() -> InstructSeg:
    return tiny_model()
