"""Attention weights that are taught are those that the language model uses."""

from __future__ import annotations

import torch
from transformers import PhiConfig
from transformers.models.phi.modeling_phi import PhiModel

from recipes.nano.lessons.attention import log_attention, watched


def test_weights_are_those_of_transformers() -> None:
    torch.manual_seed(0)
    config = PhiConfig(
        vocab_size=20, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        partial_rotary_factor=0.5, pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    config._attn_implementation = "eager"
    model = PhiModel(config).eval()
    embeds, positions = torch.randn(2, 9, 32), torch.arange(9).expand(2, -1) * 2
    with watched(model, (0, 2)) as normed, torch.no_grad():
        output = model(inputs_embeds=embeds, position_ids=positions, output_attentions=True)
    assert normed.keys() == {0, 2} and not model.layers[0].input_layernorm._forward_hooks
    asking = torch.tensor([[3, 8, 0], [7, 1, 5]])
    for layer in (0, 2):
        weights = log_attention(model, layer, normed[layer], positions, asking).exp()
        index = asking[:, None, :, None].expand(-1, 4, -1, 9)
        torch.testing.assert_close(weights, output.attentions[layer].gather(2, index), atol=1e-6, rtol=1e-5)
