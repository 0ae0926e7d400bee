"""Windows in groups against transformers' way over the whole map."""

from __future__ import annotations

import pytest
import torch
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinLayer

from instructseg.model import blocks
from instructseg.model.backbones import swin_layer
from instructseg.model.backbones.swin_layer import WindowLayer

SIDE = 4


@torch.no_grad()
@pytest.mark.parametrize("rows", [1, 40, 4096])
@pytest.mark.parametrize("shift", [0, SIDE // 2])
@pytest.mark.parametrize("size", [(16, 12), (14, 9), (4, 12), (9, 3), (4, 4)])
def test_results_are_those_of_the_whole_map(
    size: tuple[int, int], shift: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = SwinConfig(embed_dim=24, num_heads=[3], depths=[1], window_size=SIDE)
    config._attn_implementation = "sdpa"
    whole = SwinLayer(config, 24, size, 3, shift_size=shift).eval()
    for values in whole.parameters():
        values.normal_(std=0.5)
    grouped = WindowLayer(config, 24, size, 3, shift_size=shift).eval()
    grouped.load_state_dict(whole.state_dict())
    for module in (blocks, swin_layer):
        monkeypatch.setattr(module, "ROWS", rows)
    x = torch.randn(2, size[0] * size[1], 24)
    expected, found = whole(x, size, True)[0], grouped(x, size, True)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    with torch.enable_grad():  # the way that gradients take
        torch.testing.assert_close(grouped(x, size, True)[0].detach(), expected, rtol=0, atol=1e-5)
