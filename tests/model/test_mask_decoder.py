"""The masked-attention decoder and the sine positions against transformers' Mask2Former."""

import torch
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerSinePositionEmbedding,
)

from instructseg.model.mask_decoder import Attention, MaskDecoder
from instructseg.model.positions import sine_positions

DIM, QUERIES, SIZES = 32, 5, [(2, 3), (4, 6), (8, 12)]


def test_sine_positions_equal_transformers() -> None:
    theirs = Mask2FormerSinePositionEmbedding(16, normalize=True)(
        torch.Size((1, 32, 5, 7)), "cpu", torch.float32
    )
    ours = sine_positions(5, 7, 32, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(ours[None], theirs)


def copy_attention(ours: Attention, weight: torch.Tensor, bias: torch.Tensor, out: torch.nn.Linear) -> None:
    for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
        getattr(ours, name).weight.copy_(weight[i * DIM : (i + 1) * DIM])
        getattr(ours, name).bias.copy_(bias[i * DIM : (i + 1) * DIM])
    ours.out_proj.load_state_dict(out.state_dict())


@torch.no_grad()
def test_masks_equal_transformers_decoder() -> None:
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        hidden_dim=DIM, mask_feature_size=DIM, feature_size=DIM, dim_feedforward=24, decoder_layers=5,
        num_attention_heads=4, num_queries=QUERIES, dropout=0.0,
    )  # fmt: skip
    theirs = Mask2FormerMaskedAttentionDecoder(config).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.2)
    ours = MaskDecoder(16, DIM, DIM, DIM, 4, (4, 24), QUERIES, learned_queries=False)
    for layer, source in zip(ours.layers, theirs.layers, strict=True):
        cross, own = source.cross_attn, source.self_attn
        copy_attention(layer.cross, cross.in_proj_weight, cross.in_proj_bias, cross.out_proj)
        weight = torch.cat((own.q_proj.weight, own.k_proj.weight, own.v_proj.weight))
        copy_attention(
            layer.self_attention,
            weight,
            torch.cat((own.q_proj.bias, own.k_proj.bias, own.v_proj.bias)),
            own.out_proj,
        )
        layer.cross_norm.load_state_dict(source.cross_attn_layer_norm.state_dict())
        layer.self_norm.load_state_dict(source.self_attn_layer_norm.state_dict())
        layer.ff_norm.load_state_dict(source.final_layer_norm.state_dict())
        layer.ff[0].load_state_dict(source.fc1.state_dict())
        layer.ff[2].load_state_dict(source.fc2.state_dict())
    ours.norm.load_state_dict(theirs.layernorm.state_dict())
    linears = [m for m in theirs.mask_predictor.modules() if isinstance(m, torch.nn.Linear)]
    for mine, linear in zip((ours.mask_embed[0], ours.mask_embed[2], ours.mask_embed[4]), linears, strict=True):
        mine.load_state_dict(linear.state_dict())

    tokens = torch.randn(2, QUERIES, 16)
    levels = [torch.randn(2, DIM, *size) for size in SIZES]
    features = torch.randn(2, DIM, 16, 24)
    predictions = ours(tokens, torch.randn(2, DIM), levels, features, aux=True)
    expected = theirs(
        inputs_embeds=ours.query_proj(tokens).transpose(0, 1),
        query_position_embeddings=ours.query_position.weight[:, None].expand(-1, 2, -1),
        encoder_hidden_states=[
            (level.flatten(2) + ours.level_embed.weight[i][:, None]).permute(2, 0, 1)
            for i, level in enumerate(levels)
        ],
        multi_stage_positional_embeddings=[
            sine_positions(*size, DIM, torch.device("cpu"), torch.float32)
            .flatten(1)
            .t()[:, None]
            .expand(-1, 2, -1)
            for size in SIZES
        ],
        pixel_embeddings=features,
        feature_size_list=SIZES,
        return_dict=True,
    )
    assert len(predictions) == len(expected.masks_queries_logits) == 5
    for (masks, _), theirs_masks in zip(predictions, expected.masks_queries_logits, strict=True):
        torch.testing.assert_close(masks, theirs_masks, atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_rows_that_share_an_image_equal_rows_with_copies() -> None:
    torch.manual_seed(1)
    decoder = MaskDecoder(16, 8, 12, 16, 4, (3, 24), QUERIES, learned_queries=True)
    tokens, classifier = torch.randn(3, QUERIES, 16), torch.randn(3, 16)
    levels, features = [torch.randn(2, 8, *size) for size in SIZES], torch.randn(2, 12, 16, 24)
    picture = torch.tensor([1, 0, 1])
    shared = decoder(tokens, classifier, levels, features, picture)
    copied = decoder(tokens, classifier, [level[picture] for level in levels], features[picture])
    one = decoder(
        tokens[:2], classifier[:2], [level[:1] for level in levels], features[:1], torch.tensor([0, 0])
    )
    first = decoder(tokens[:1], classifier[:1], [level[:1] for level in levels], features[:1])
    for a, b in zip(shared[-1], copied[-1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    for a, b in zip(one[-1], first[-1], strict=True):
        torch.testing.assert_close(a[:1], b, atol=1e-5, rtol=1e-5)
