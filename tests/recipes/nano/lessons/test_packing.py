"""Packed rows beside each row read on its own."""

from __future__ import annotations

import torch
from transformers import PhiConfig
from transformers.models.phi.modeling_phi import PhiModel

from instructseg.structures import Role
from recipes.nano.lessons.packing import pack


def batch() -> tuple[torch.Tensor, ...]:
    """Three rows on picture 0, of which the last starts otherwise, and one on picture 1."""
    starts = [[7, 0, 0, 9], [7, 0, 0, 9], [8, 0, 0, 9], [7, 0, 0, 9]]
    rests = [[1, 2, 3], [4, 5], [1, 2, 3, 4], [6]]
    ids = torch.zeros(4, 8, dtype=torch.int64)
    roles = torch.full((4, 8), int(Role.PAD))
    for row, (start, rest) in enumerate(zip(starts, rests, strict=True)):
        line = [*start[:3], *rest]
        ids[row, : len(line)] = torch.tensor(line)
        roles[row, : len(line)] = int(Role.REFER)
        roles[row, 0], roles[row, 1:3] = int(Role.TEXT), int(Role.IMAGE)
    positions = torch.arange(8).expand(4, -1) + (torch.arange(8) > 1) * 2
    return ids, roles, roles != Role.PAD, positions, torch.tensor([0, 0, 0, 1])


def test_packed_rows_are_read_as_if_alone() -> None:
    torch.manual_seed(0)
    ids, roles, real, positions, image = batch()
    packing = pack(ids, roles, real, positions, image)
    assert packing.group.tolist() == [0, 0, 1, 2] and packing.leader.sum() == 3
    assert packing.positions.shape == (3, 8)  # 3 of the start, 3 and 2 behind it
    config = PhiConfig(
        vocab_size=20, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        partial_rotary_factor=0.5, pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = PhiModel(config).eval()
    embeds = model.embed_tokens(ids).detach()
    embeds[:2, 1:3], embeds[2:, 1:3] = torch.randn(2, 32), torch.randn(2, 32)
    embeds.requires_grad_()
    alone = model(inputs_embeds=embeds, attention_mask=real, position_ids=positions).last_hidden_state
    sequences = model(
        inputs_embeds=packing.sequences(embeds), attention_mask=packing.mask, position_ids=packing.positions
    ).last_hidden_state
    rows = packing.rows(sequences)
    torch.testing.assert_close(rows[real], alone[real], atol=1e-5, rtol=1e-4)
    (wanted,) = torch.autograd.grad((alone[real] ** 2).sum(), embeds)
    (found,) = torch.autograd.grad((rows[real] ** 2).sum(), embeds)
    shared = torch.zeros_like(real)
    shared[:2, :3] = True
    torch.testing.assert_close(found[~shared], wanted[~shared], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[:2, :3].sum(0), wanted[:2, :3].sum(0), atol=1e-4, rtol=1e-3)
