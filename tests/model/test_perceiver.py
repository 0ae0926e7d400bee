"""The shared perceiver block against a plain loop, and the fusion modes of VMTF."""

import pytest
import torch

from instructseg.model.ovp import ObjectAwareVideoPerceiver
from instructseg.model.perceiver import Perceiver, PerceiverAttention
from instructseg.model.vmtf import TextFusion, masked_mean


def plain_attention(module: PerceiverAttention, latents: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """One row, one head and one latent at a time."""
    latents, context = module.norm_latents(latents), module.norm_context(context)
    rows = []
    for row in range(len(latents)):
        keys = torch.cat((context[row], latents[row]))
        k, v = module.to_kv(keys).chunk(2, dim=-1)
        q = module.to_q(latents[row])
        width = q.shape[-1] // module.heads
        out = torch.zeros_like(q)
        for head in range(module.heads):
            part = slice(head * width, (head + 1) * width)
            for i in range(len(q)):
                weights = torch.softmax(k[:, part] @ q[i, part] * width**-0.5, 0)
                out[i, part] = weights @ v[:, part]
        rows.append(module.to_out(out))
    return torch.stack(rows)


def test_attention_equals_a_plain_loop() -> None:
    torch.manual_seed(0)
    module = PerceiverAttention(12, heads=3, head_dim=5)
    latents, context = torch.randn(2, 4, 12), torch.randn(2, 7, 12)
    torch.testing.assert_close(module(latents, context), plain_attention(module, latents, context))


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    perceiver = Perceiver(12, depth=2, heads=2, head_dim=4, ff_mult=2)
    latents, context = torch.randn(1, 4, 12), torch.randn(1, 7, 12)
    padded = torch.cat((context, torch.full((1, 3, 12), 9.0)), dim=1)
    mask = torch.arange(10) < 7
    torch.testing.assert_close(perceiver(latents, padded, context_mask=mask[None]), perceiver(latents, context))
    more = torch.cat((latents, torch.full((1, 2, 12), 9.0)), dim=1)
    out = perceiver(more, context, latent_mask=(torch.arange(6) < 4)[None])
    torch.testing.assert_close(out[:, :4], perceiver(latents, context))


def test_ovp_reads_frame_and_text() -> None:
    torch.manual_seed(0)
    ovp = ObjectAwareVideoPerceiver(12, queries=3, depth=1, heads=2, head_dim=4, ff_mult=2)
    frames, text, mask = torch.randn(2, 5, 12), torch.randn(2, 4, 12), torch.ones(2, 4, dtype=torch.bool)
    out = ovp(frames, text, mask)
    assert out.shape == (2, 3, 12)
    torch.testing.assert_close(out[1:], ovp(frames[1:], text[1:], mask[1:]))
    assert not torch.allclose(out, ovp(frames, text.flip(-1), mask))
    assert not torch.allclose(out, ovp(frames.roll(1, 0), text, mask))
    mask[:, 3] = False
    torch.testing.assert_close(ovp(frames, text, mask), ovp(frames, text[:, :3], mask[:, :3]))


def fusion(mode: str) -> TextFusion:
    torch.manual_seed(0)
    perceiver = None if mode == "off" else Perceiver(8, depth=2, heads=2, head_dim=4, ff_mult=2)
    return TextFusion(12, {"res5": 6}, ["res5"], 8, perceiver, 5, mode)


@pytest.mark.parametrize("mode", ["released", "paper", "detailed", "off"])
def test_each_fusion_mode_ignores_padding(mode: str) -> None:
    module = fusion(mode)
    text, mask = torch.randn(2, 6, 12), torch.ones(2, 6, dtype=torch.bool)
    visual = module.encode_visual({"res5": torch.randn(2, 6, 3, 4)})
    assert (visual is None) == (mode == "off")
    out = module(text, mask, visual)
    assert out.shape == (2, 5)
    padded = torch.cat((text, torch.full((2, 2, 12), 9.0)), dim=1)
    wider = torch.cat((mask, torch.zeros(2, 2, dtype=torch.bool)), dim=1)
    torch.testing.assert_close(module(padded, wider, visual), out)


@pytest.mark.parametrize(("mode", "takes_part"), [("released", False), ("paper", True), ("detailed", True)])
def test_detailed_tokens_take_part_where_they_should(mode: str, takes_part: bool) -> None:
    """Moving the detailed tokens while their mean stays put shows whether they are read one by one."""
    module = fusion(mode)
    text, mask = torch.randn(1, 6, 12), torch.ones(1, 6, dtype=torch.bool)
    shift = torch.randn(1, 6, 12)
    moved = text + shift - shift.mean(1, keepdim=True)
    visual = module.encode_visual({"res5": torch.randn(1, 6, 3, 4)})
    same = torch.allclose(module(text, mask, visual), module(moved, mask, visual), atol=1e-5)
    assert same is not takes_part


def test_masked_mean() -> None:
    values, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    torch.testing.assert_close(
        masked_mean(values, mask), torch.stack((values[0, :2].mean(0), values[1].mean(0)))
    )
