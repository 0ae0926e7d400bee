"""Each kind of language model against the model of transformers that it stands for, and in the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel, PhiForCausalLM, Qwen3ForCausalLM

from instructseg.model import InstructSeg
from instructseg.model.instructseg import LanguageStates
from instructseg.model.language import KINDS, LanguageModel, Placement
from instructseg.model.quantized import quantize_model
from instructseg.pretrained import from_pretrained
from instructseg.structures import Role
from tests.model.conftest import TINY, batch, tiny_model

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
TEXT: dict[str, dict[str, Any]] = {
    "phi": TINY["text_config"],
    "bert": {
        "model_type": "bert", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
    },
    "qwen3": {
        "model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0, "tie_word_embeddings": True,
    },
}  # fmt: skip
THEIRS = {"phi": PhiForCausalLM, "bert": BertModel, "qwen3": Qwen3ForCausalLM}


def whole_model(kind: str, **overrides: Any) -> InstructSeg:
    return tiny_model(text_config=TEXT[kind], **overrides)


def reference(language: LanguageModel, kind: str) -> Any:
    """The model of transformers with the same weights."""
    config = language.model.config
    made = THEIRS[kind](config, add_pooling_layer=False) if kind == "bert" else THEIRS[kind](config)
    base = made if kind == "bert" else made.model
    base.load_state_dict(language.model.state_dict())
    return made.eval()


def test_every_kind_is_tested() -> None:
    assert TEXT.keys() == KINDS.keys()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_transformers(kind: str) -> None:
    language = whole_model(kind).language
    theirs = reference(language, kind)
    ids = torch.randint(1, 64, (2, 9))
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    base = theirs if kind == "bert" else theirs.model
    expected = base(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    found = language.hidden_states(language.word_table()(ids), mask)
    torch.testing.assert_close(found[mask], expected[mask], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_states_at_wanted_positions_are_those_of_the_whole_pass(kind: str, layers: int) -> None:
    model = tiny_model(text_config={**TEXT[kind], "num_hidden_layers": layers})
    inputs = batch(model.config, [(0, 4), (2, 7), (1, 2)])
    torch.manual_seed(1)
    embeds = torch.randn(*inputs.roles.shape, 32)

    def reason(whole: bool) -> LanguageStates:
        return model.reason(embeds, inputs.roles, whole=whole)

    whole, few = reason(True), reason(False)
    torch.testing.assert_close(few.mask_tokens, whole.mask_tokens, **CLOSE)
    torch.testing.assert_close(few.text, whole.text, **CLOSE)
    unread = (inputs.roles == Role.IMAGE).nonzero()[0]
    assert not torch.equal(few.hidden[tuple(unread)], whole.hidden[tuple(unread)])  # it was left out


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_keep_their_positions_where_others_are_left_out(kind: str) -> None:
    """Two rows of different lengths with gaps, against transformers with the same position ids."""
    language = whole_model(kind).language
    theirs = reference(language, kind)
    base = theirs if kind == "bert" else theirs.model
    torch.manual_seed(1)
    embeds, mask = torch.randn(2, 6, 32), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    ids, ones = torch.tensor([[0, 3, 4, 9, 12, 13], [1, 2, 7, 8, 0, 0]]), torch.ones(2, 6)
    placement = Placement(ids, ones)
    expected = base(inputs_embeds=embeds, attention_mask=mask.long(), position_ids=ids).last_hidden_state
    whole = language.hidden_states(embeds, mask, placement=placement)
    torch.testing.assert_close(whole[mask], expected[mask], **CLOSE)
    read = torch.zeros(2, 6, dtype=torch.bool)
    read[0, [2, 5]] = read[1, [1, 3]] = True
    found = language.hidden_states(embeds, mask, read, placement)
    torch.testing.assert_close(found[read], expected[read], **CLOSE)
    moved = language.hidden_states(embeds, mask, read)
    assert (found - moved)[read].abs().max() > 5e-5
    plain = Placement(torch.arange(6).expand(2, 6), ones)
    torch.testing.assert_close(language.hidden_states(embeds, mask, read, plain)[read], moved[read], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_token_is_read_as_so_many_copies(kind: str) -> None:
    """Against the copies themselves; of a decoder, one layer, in which copies are not apart yet."""
    language = tiny_model(text_config={**TEXT[kind], "num_hidden_layers": 2 if kind == "bert" else 1}).language
    torch.manual_seed(1)
    embeds, sizes = torch.randn(1, 5, 32), torch.tensor([[1.0, 3.0, 1.0, 2.0, 1.0]])
    ids = torch.tensor([[0, 2, 5, 6, 9]])
    copies = sizes[0].long()
    many = language.hidden_states(
        embeds.repeat_interleave(copies, 1),
        torch.ones(1, 8, dtype=torch.bool),
        placement=Placement(ids.repeat_interleave(copies, 1), torch.ones(1, 8)),
    )[:, copies.cumsum(0) - 1]  # the last copy of each has read the others
    mask, read = torch.ones(1, 5, dtype=torch.bool), torch.tensor([[False, True, False, False, True]])
    few = language.hidden_states(embeds, mask, placement=Placement(ids, sizes))
    torch.testing.assert_close(few, many, **CLOSE)
    found = language.hidden_states(embeds, mask, read, Placement(ids, sizes))
    torch.testing.assert_close(found[read], many[read], **CLOSE)
    assert (
        language.hidden_states(embeds, mask, placement=Placement(ids, torch.ones(1, 5))) - many
    ).abs().max() > 5e-5


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_the_same_alone_and_beside_a_longer_one(kind: str) -> None:
    model = whole_model(kind)
    both = batch(model.config, [(2, 7), (0, 3)])
    alone = batch(model.config, [(2, 7)])
    alone.input_ids[:] = both.input_ids[:1]
    alone.clip_pixels[:], alone.seg_pixels[:] = both.clip_pixels[:1], both.seg_pixels[:1]  # type: ignore[index]
    torch.testing.assert_close(model(alone).mask_logits, model(both).mask_logits[:1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_words_through_masks(kind: str) -> None:
    model = whole_model(kind)
    output = model(batch(model.config, [(1, 4)]))
    (output.mask_logits.sum() + output.seg_logits.sum()).backward()
    grad = model.language.word_table().weight.grad
    assert grad is not None
    assert bool(grad.any())


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    model = whole_model(kind)
    model.save_pretrained(tmp_path)
    loaded = InstructSeg.from_pretrained(tmp_path).eval()
    assert loaded.config.text_config.model_type == kind
    assert loaded.state_dict().keys() == model.state_dict().keys()
    with torch.no_grad():
        inputs = batch(model.config, [(1, 4)])
        torch.testing.assert_close(loaded(inputs).mask_logits, model(inputs).mask_logits, atol=0, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind, made in KINDS.items() if made.generates])
def test_text_is_continued_as_transformers_does(kind: str) -> None:
    language = whole_model(kind).language
    theirs = reference(language, kind)
    if kind == "phi":  # another output table
        theirs.lm_head = language.lm_head
    embeds = torch.randn(1, 5, 32)
    expected = theirs.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(1, 5, dtype=torch.long),
        suppress_tokens=list(range(64, 70)) if kind == "phi" else None,  # rows without a token
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=63,
        pad_token_id=0,
    )
    found = language.continue_text(embeds, 6, (63,))
    assert found == [token for token in expected[0].tolist() if token != 63]


def test_an_encoder_writes_no_text() -> None:
    language = whole_model("bert").language
    with pytest.raises(ValueError, match="writes no text"):
        language.continue_text(torch.randn(1, 5, 32), 6, (63,))
    with pytest.raises(ValueError, match="writes no text"):
        language.logits(torch.randn(1, 5, 32))


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_stand_on_the_layers_of_the_kind(kind: str) -> None:
    model = whole_model(kind, lora={"r": 2, "alpha": 4, "dropout": 0.0})
    learning = {name for name, p in model.language.named_parameters() if p.requires_grad}
    assert {name.split(".")[-4] for name in learning if "lora_A" in name} == set(model.language.lora_targets)
    assert len(learning) == 2 * 2 * 2  # two matrices, two layers, two targets


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_quantized_and_loaded_so(kind: str, tmp_path: Path) -> None:
    model = whole_model(kind)
    inputs = batch(model.config, [(1, 4)])
    plain = model(inputs).mask_logits
    model.save_pretrained(tmp_path)
    quantize_model(model, "int8")
    linears = [m for n, m in model.language.named_modules() if n.startswith(model.language.blocks)]
    assert not any(type(m) is torch.nn.Linear for m in linears)
    error = (model(inputs).mask_logits - plain).abs().mean() / plain.abs().mean()
    assert 0 < float(error) < 0.1
    read = from_pretrained(tmp_path, quantize="int8")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], value)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="no language model 'llama'; there are phi, bert, qwen3"):
        tiny_model(text_config={"model_type": "llama"})
