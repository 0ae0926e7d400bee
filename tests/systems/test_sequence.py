"""Sequence core: vocabulary, forms of answers, the cache, samples, guidance, agreement, codes of images."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from instructseg.systems.sequence import agreement
from instructseg.systems.sequence.prefix_decoder import Prefix, PrefixDecoder
from instructseg.systems.sequence.sampling import SamplingOptions, guided, sample_answers
from instructseg.systems.sequence.visual_codes import VisualCodes, prepare_images, restore_image
from instructseg.systems.sequence.vocabulary import AnswerForm, AnswerForms, Vocabulary

END = 2
VOCABULARY = Vocabulary({"text": 6, "image": 5, "place": 4})
FORMS = AnswerForms(
    VOCABULARY,
    [
        AnswerForm("words", ("text",), repeated="text", most=9),
        AnswerForm("picture", ("image", "image", 1, "image", "image", 1)),  # 1 ends a row
        AnswerForm("box", ("place",) * 2),
    ],
    END,
)


@pytest.fixture(scope="module")
def decoder() -> PrefixDecoder:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY.size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=None,
    )
    made = PrefixDecoder(LlamaForCausalLM(config)).eval()
    for one in made.parameters():  # logits far from even, so that the tests would see a wrong one
        one.data += 0.2 * torch.randn_like(one)
    return made


def prefix(rows: int = 2, seed: int = 1) -> Prefix:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(rows, 5, dtype=torch.bool)
    mask[0, :2] = False
    return Prefix(torch.randn(rows, 5, 32, generator=generator), mask)


def test_groups_stand_one_behind_the_other() -> None:
    assert VOCABULARY.size == 15
    assert list(VOCABULARY.ids("image")) == [6, 7, 8, 9, 10] and VOCABULARY.first("place") == 11
    with pytest.raises(ValueError, match="no group 'sound', but text, image, place"):
        VOCABULARY.ids("sound")
    with pytest.raises(ValueError, match="at least 1 token"):
        Vocabulary({"text": 0})


def test_only_tokens_of_a_form_may_follow() -> None:
    def allowed(*tokens: int) -> list[int]:
        rows = torch.tensor([tokens], dtype=torch.int64).reshape(1, -1)
        return FORMS.allowed(rows)[0].nonzero()[:, 0].tolist()

    assert allowed() == list(range(15))
    assert allowed(4) == allowed(4, 5, 3) == [0, 1, 2, 3, 4, 5]
    assert allowed(7, 8) == [1] and allowed(7, 8, 1) == [6, 7, 8, 9, 10]
    assert allowed(7, 8, 1, 6, 6, 1) == allowed(12, 11) == [END]
    assert allowed(12, 11, END) == allowed(4, END, END) == [END]
    assert allowed(*[4] * 8) == [0, 1, 2, 3, 4, 5] and allowed(*[4] * 9) == [END]
    assert FORMS.longest == 10 and AnswerForms(VOCABULARY, FORMS.forms[1:], END).longest == 7
    assert FORMS.form_of(9).name == "picture"
    with pytest.raises(ValueError, match="begin with different groups"):
        AnswerForms(VOCABULARY, [FORMS.forms[2], AnswerForm("point", ("place",))], END)
    with pytest.raises(ValueError, match="has no token"):
        AnswerForm("nothing", ())
    with pytest.raises(ValueError, match="no form begins with token 4"):
        AnswerForms(VOCABULARY, FORMS.forms[1:], END).form_of(4)


def test_the_cache_changes_nothing(decoder: PrefixDecoder) -> None:
    given, tokens = prefix(), torch.tensor([[7, 8, 1, 6], [4, 5, 3, 2]])
    with torch.no_grad():
        whole = decoder(given, tokens)
        logits, state = decoder.start(given)
        torch.testing.assert_close(logits, whole[:, 0], atol=1e-5, rtol=1e-5)
        for place in range(tokens.shape[1]):
            logits = state.step(tokens[:, place])
            torch.testing.assert_close(logits, whole[:, place + 1], atol=1e-5, rtol=1e-5)


def test_padding_and_other_rows_change_nothing(decoder: PrefixDecoder) -> None:
    given, tokens = prefix(), torch.tensor([[7, 8], [4, 5]])
    alone = Prefix(given.states[:1, 2:], given.mask[:1, 2:])
    with torch.no_grad():
        torch.testing.assert_close(decoder(alone, tokens[:1]), decoder(given, tokens)[:1], atol=1e-5, rtol=1e-5)


def test_states_of_a_prefix_are_what_the_last_layer_reads(decoder: PrefixDecoder) -> None:
    some, tokens = prefix(), torch.tensor([[6, 7, 1], [12, 11, END]])
    read = list[torch.Tensor]()
    layer = decoder.language.model.layers[-1]
    hook = layer.register_forward_pre_hook(
        lambda _, given, named: read.append(given[0] if given else named["hidden_states"]), with_kwargs=True
    )
    with torch.no_grad():
        logits, states = decoder.with_states(some, tokens)
    hook.remove()
    assert states.shape == (2, 5, 32) and torch.equal(states, read[0][:, :5])
    with torch.no_grad():
        assert torch.equal(logits, decoder(some, tokens))


def test_copies_of_a_prefix_equal_a_batch_of_them(decoder: PrefixDecoder) -> None:
    given = prefix()
    with torch.no_grad():
        logits, state = decoder.start(given, copies=3)
        again, other = decoder.start(given.repeat(3))
        torch.testing.assert_close(logits, again, atol=1e-5, rtol=1e-5)
        step = torch.tensor([4, 5, 7, 8, 11, 12])
        torch.testing.assert_close(state.step(step), other.step(step), atol=1e-5, rtol=1e-5)


def test_samples_have_one_of_the_forms(decoder: PrefixDecoder) -> None:
    drawn = sample_answers(decoder, prefix(), FORMS, SamplingOptions(samples=20))
    assert drawn.tokens.shape[:2] == (2, 20) and drawn.tokens.shape[2] <= 10
    seen = set()
    for row in drawn.tokens.flatten(0, 1).tolist():
        end = row.index(END)
        assert all(token == END for token in row[end:])
        if row[0] == END:  # a text may be empty
            continue
        seen.add(FORMS.form_of(row[0]).name)
        for place in range(1, end):
            assert FORMS.allowed(torch.tensor([row[:place]]))[0, row[place]]
        assert row[0] < 6 or end == {"picture": 6, "box": 2}[FORMS.form_of(row[0]).name]
    assert len(seen) == 3
    over = (drawn.tokens == END).cumsum(-1) > 1
    assert (drawn.probabilities > 0).all() and (drawn.probabilities[over] == 1).all()


def test_the_likeliest_answer_against_a_loop_without_a_cache(decoder: PrefixDecoder) -> None:
    given = prefix()
    forms = AnswerForms(VOCABULARY, FORMS.forms[1:], END)
    drawn = sample_answers(decoder, given, forms, SamplingOptions(samples=2, temperature=0))
    for row in range(2):
        one, tokens, chances = Prefix(given.states[[row]], given.mask[[row]]), list[int](), list[float]()
        while not tokens or tokens[-1] != END:
            before = torch.tensor([tokens], dtype=torch.int64).reshape(1, -1)
            with torch.no_grad():
                logits = decoder(one, before)[0, -1]
            shares = logits.masked_fill(~forms.allowed(before)[0], -torch.inf).softmax(-1)
            tokens.append(int(shares.argmax()))
            chances.append(float(shares.max()))
        for sample in range(2):
            assert drawn.tokens[row, sample, : len(tokens)].tolist() == tokens
            assert np.allclose(drawn.probabilities[row, sample, : len(tokens)], chances, atol=1e-5)


def test_samples_follow_the_distribution(decoder: PrefixDecoder) -> None:
    forms = AnswerForms(VOCABULARY, FORMS.forms[2:], END)
    given = prefix(1)
    given = Prefix(given.states, torch.ones_like(given.mask))
    for temperature in (1.0, 0.5):
        drawn = sample_answers(decoder, given, forms, SamplingOptions(samples=4000, temperature=temperature))
        with torch.no_grad():
            logits = decoder.start(given)[0][0, 11:15] / temperature
        found = torch.bincount(drawn.tokens[0, :, 0] - 11, minlength=4) / 4000
        assert (found - logits.softmax(-1)).abs().max() < 0.04


def test_a_row_has_its_own_samples_whatever_the_others_are(decoder: PrefixDecoder) -> None:
    options = SamplingOptions(samples=4, seed=3)
    first = sample_answers(decoder, prefix(2), FORMS, options).tokens[0]
    given = prefix(2)
    alone = Prefix(given.states[:1], given.mask[:1])
    again = sample_answers(decoder, alone, FORMS, options).tokens[0]
    length = min(first.shape[1], again.shape[1])
    assert torch.equal(first[:, :length], again[:, :length])
    assert len({tuple(row) for row in first.tolist()}) > 1


def test_top_k_by_group(decoder: PrefixDecoder) -> None:
    forms = AnswerForms(VOCABULARY, FORMS.forms[2:], END)
    drawn = sample_answers(decoder, prefix(), forms, SamplingOptions(samples=50, top_k={"place": 1}))
    best = sample_answers(decoder, prefix(), forms, SamplingOptions(temperature=0))
    assert (drawn.tokens == best.tokens).all()
    with pytest.raises(ValueError, match="top_k of 'place'"):
        SamplingOptions(top_k={"place": 0})


def test_guidance_equals_its_formula(decoder: PrefixDecoder) -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])
    assert guided(one, other, 3.0).tolist() == [3.0, -2.0] and torch.equal(guided(one, other, 1.0), one)
    forms = AnswerForms(VOCABULARY, FORMS.forms[2:], END)
    given, free = prefix(2, 1), prefix(2, 2)
    with torch.no_grad():
        logits, base = decoder.start(given)[0], decoder.start(free)[0]
    wanted = (base + 2.5 * (logits - base))[:, 11:15].softmax(-1)
    options = SamplingOptions(guidance=2.5, temperature=0)
    drawn = sample_answers(decoder, given, forms, options, free)
    assert drawn.tokens[:, 0, 0].tolist() == (wanted.argmax(-1) + 11).tolist()
    assert np.allclose(drawn.probabilities[:, 0, 0], wanted.max(-1).values, atol=1e-5)
    with pytest.raises(ValueError, match="needs a prefix without the instruction"):
        sample_answers(decoder, given, forms, options)


def test_options_out_of_range_are_refused() -> None:
    for name, value in (("samples", 0), ("temperature", -1.0), ("seed", -1)):
        with pytest.raises(ValueError, match=name):
            SamplingOptions(**{name: value})  # type: ignore[arg-type]


def test_a_vote_against_a_loop() -> None:
    maps = np.random.default_rng(0).integers(0, 4, (6, 5, 7))
    found, share = agreement.vote(maps, 4)
    for row, column in itertools.product(range(5), range(7)):
        votes = maps[:, row, column].tolist()
        best = max(range(4), key=votes.count)  # the first of equals
        assert found[row, column] == best
        assert share[row, column] == pytest.approx(votes.count(best) / 6)


def test_the_best_of_n_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    masks = [rng.random((8, 8)) < 0.5 for _ in range(6)]
    sums = []
    for place, one in enumerate(masks):
        others = [other for number, other in enumerate(masks) if number != place]
        sums.append(sum((one & other).sum() / (one | other).sum() for other in others))
    assert agreement.most_agreeing(masks, agreement.mask_overlap) == int(np.argmax(sums))
    assert agreement.most_agreeing(masks[:1], agreement.mask_overlap) == 0
    assert agreement.most_frequent(["a", "b", "c", "b"]) == 1
    empty = np.zeros((2, 2), bool)
    assert agreement.mask_overlap(empty, empty) == 1.0 and agreement.mask_overlap(empty, ~empty) == 0.0


def test_agreement_of_few_samples_proves_little() -> None:
    assert np.allclose(agreement.confirmed(np.array([1.0, 0.5, 0.0]), 6), [7 / 8, 1 / 2, 1 / 8])
    assert np.allclose(agreement.confirmed(np.ones(1), 1), 2 / 3)


def test_confidence_is_laid_on_the_grid() -> None:
    shares = np.array([[0.0, 1.0], [0.5, 0.25]])
    shown = agreement.confidence_map(shares, 16, 32)
    assert shown.shape == (16, 32) and shown.dtype == np.float32
    assert shown[0, 0] == 0 and shown[0, -1] == 1 and shown[-1, 0] == 0.5 and shown[-1, -1] == 0.25
    assert shown.min() >= 0 and shown.max() <= 1


def test_patches_that_are_codes_come_back_exactly() -> None:
    torch.manual_seed(0)
    visual = VisualCodes({"patch": 4, "num_vq_embeddings": 6}, 16)
    drawn = torch.rand(6, 48) * 2 - 1
    with torch.no_grad():
        visual.codebook.copy_(drawn)
    codes = torch.randint(0, 6, (3, 4, 4))
    images = visual.decode(codes)
    assert images.shape == (3, 3, 16, 16) and torch.equal(visual.encode(images), codes)
    torch.testing.assert_close(images[0, 0, :4, :4].flatten(), drawn[codes[0, 0, 0], :16])
    noisy, loss, numbers = visual(images + 0.01 * torch.randn_like(images))
    assert torch.equal(numbers, codes) and 0 < loss < 0.01
    torch.testing.assert_close(noisy, images)


def test_the_vq_model_of_diffusers_is_behind_the_same_methods() -> None:
    settings = {
        "down_block_types": ["DownEncoderBlock2D"] * 2,
        "up_block_types": ["UpDecoderBlock2D"] * 2,
        "block_out_channels": [8, 16],
        "norm_num_groups": 4,
        "latent_channels": 4,
        "num_vq_embeddings": 7,
    }
    visual = VisualCodes(settings, 16)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = visual.encode(images)
    assert codes.shape == (2, 8, 8) and codes.max() < 7
    drawn, loss, numbers = visual(images)
    assert torch.equal(numbers, codes)
    torch.testing.assert_close(visual.decode(codes), drawn, atol=1e-5, rtol=1e-5)
    (drawn.square().mean() + loss).backward()
    assert all(one.grad is not None for one in visual.parameters())
    with pytest.raises(ValueError, match="multiple of 2, not 15"):
        VisualCodes(settings, 15)


def test_images_are_prepared_and_restored() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    pixels = prepare_images([image], 16)
    assert pixels.shape == (1, 3, 16, 16)
    assert np.array_equal(restore_image(pixels[0], 20, 30), image)


def test_the_core_stands_apart_from_its_systems() -> None:
    folder = Path(agreement.__file__).parent
    assert not [file.name for file in folder.glob("*.py") if "instructseq." in file.read_text(encoding="utf-8")]
