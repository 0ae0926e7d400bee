"""What inference leaves out changes no number that is read."""

import pytest
import torch

from instructseg.model import InstructSeg
from instructseg.model.pixel_decoder import DeformableAttention, PixelDecoder
from instructseg.structures import Role
from tests.model.conftest import batch, tiny_model

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def embedded(model: InstructSeg) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and roles of three rows of different lengths; the shorter ones are padded."""
    inputs = batch(model.config, [(0, 4), (2, 7), (1, 2)])
    torch.manual_seed(1)
    return torch.randn(*inputs.roles.shape, model.config.text_config.hidden_size), inputs.roles


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_states_that_are_read_are_those_of_the_whole_pass(layers: int) -> None:
    model = tiny_model()
    del model.language.model.layers[layers:]
    model.language.model.config.num_hidden_layers = layers
    embeds, roles = embedded(model)
    whole, few = model.reason(embeds, roles, whole=True), model.reason(embeds, roles)
    torch.testing.assert_close(few.mask_tokens, whole.mask_tokens, **CLOSE)
    torch.testing.assert_close(few.text, whole.text, **CLOSE)
    unread = (roles == Role.IMAGE).nonzero()[0]
    assert not torch.equal(few.hidden[tuple(unread)], whole.hidden[tuple(unread)])  # it was left out


@torch.no_grad()
def test_only_the_read_positions_go_through_the_last_block(model: InstructSeg) -> None:
    embeds, roles = embedded(model)
    seen: dict[str, int] = {}
    for number, layer in enumerate(model.language.model.layers):
        layer.mlp.register_forward_hook(
            lambda _, inputs, __, number=number: seen.__setitem__(f"mlp{number}", inputs[0].shape[1])
        )
    model.reason(embeds, roles)
    read = ((roles == Role.MASK) | (roles == Role.REFER)).sum(1).max()
    assert seen["mlp1"] == int(read) < seen["mlp0"] < roles.shape[1]


@torch.no_grad()
def test_left_padding_is_masked(model: InstructSeg) -> None:
    """A row that is padded on the left, which the short way does not allow for."""
    embeds, roles = embedded(model)
    rolled = roles.roll(3, 1)
    read = rolled == Role.MASK
    mask = rolled != Role.PAD
    whole = model.language.hidden_states(embeds, mask)
    assert torch.equal(model.language.hidden_states(embeds, mask, read), whole)


def test_gradients_reach_every_position(model: InstructSeg) -> None:
    embeds, roles = embedded(model)
    embeds.requires_grad_()
    model.reason(embeds, roles).mask_tokens.sum().backward()
    assert embeds.grad is not None
    assert bool(embeds.grad[:, 0].any())


@torch.no_grad()
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_sampling_by_rows_is_grid_sampling(spread: float) -> None:
    """Points within the maps, between cells, at the rim and outside; two pictures that are not square."""
    torch.manual_seed(0)
    decoder = PixelDecoder({"res2": 8, "res3": 8, "res4": 8, "res5": 8}, 32, 16, 2, 4, 32, "plain").eval()
    attentions = [part for part in decoder.modules() if isinstance(part, DeformableAttention)]
    assert len(attentions) == 2
    for attention in attentions:
        attention.sampling_offsets.weight.normal_(std=0.3)
        attention.sampling_offsets.bias.normal_(std=spread)
        attention.attention_weights.weight.normal_(std=0.3)
    maps = {f"res{i}": torch.randn(2, 8, 96 // 2**i, 160 // 2**i) for i in range(2, 6)}
    levels, features = decoder(maps)
    for attention in attentions:
        attention.by_rows = False
    plain_levels, plain_features = decoder(maps)
    torch.testing.assert_close(features, plain_features, **CLOSE)
    for level, plain in zip(levels, plain_levels, strict=True):
        torch.testing.assert_close(level, plain, **CLOSE)


def test_a_pixel_decoder_built_alone_is_initialised() -> None:
    poison = [torch.full((3, 32), float("nan")) for _ in range(1000)]
    del poison
    decoder = PixelDecoder({"res2": 8, "res3": 8, "res4": 8, "res5": 8}, 32, 16, 2, 4, 32, "plain")
    assert not decoder.decoder.level_embed.any()


@torch.no_grad()
def test_an_exported_graph_samples_grids() -> None:
    """``embedding_bag`` is for this machine; another runtime gets ``grid_sample``."""
    attention = DeformableAttention(32, 2, 3, 4).eval()
    shapes = [(1, 1), (2, 2), (3, 3)]
    x, reference = torch.randn(1, 14, 32), torch.rand(1, 14, 3, 2)

    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            return self.attention(
                x, encoder_hidden_states=x, reference_points=reference, spatial_shapes_list=shapes
            )[0]

    program = torch.export.export(Part(), (x, reference), strict=False)
    called = " ".join(str(node.target) for node in program.graph.nodes)
    assert "grid_sampler" in called
    assert "embedding_bag" not in called
    torch.testing.assert_close(program.module()(x, reference), Part()(x, reference), **CLOSE)
