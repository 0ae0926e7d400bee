"""Explanatory Instructions: triplets both ways, images in the sequence, answers, z-loss, storage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.loading import load
from instructseg.masks import mask_iou
from instructseg.systems.codecs import decode_overlay, encode_depth, encode_overlay
from instructseg.systems.explanatory import explanatory_predictor
from instructseg.systems.explanatory.explanatory_config import ExplanatoryConfig
from instructseg.systems.explanatory.explanatory_predictor import ExplanatoryPredictor, changed
from instructseg.systems.explanatory.triplets import Explanation, both_ways, every_wording
from instructseg.systems.sequence.sampling import SamplingOptions
from instructseg.systems.sequence.token_loss import token_losses
from recipes.systems import explanatory as recipe
from recipes.systems import explanatory_evaluation as evaluation
from recipes.systems import explanatory_lessons as lessons
from recipes.systems import train
from recipes.systems.scenes import ALL_NAMES, COLOURS
from recipes.systems.table import table_of

CONFIG = Path(__file__).parents[2] / "configs" / "systems" / "explanatory_tiny.yaml"
TEXT = "cover the red circle with a thin layer of cyan"


@pytest.fixture(scope="module")
def predictor() -> ExplanatoryPredictor:
    return ExplanatoryPredictor(*recipe.new_model())


def drawn_change(seed: int, task: str = "overlay", there: bool = True) -> lessons.Change:
    return lessons.draw_change(np.random.default_rng(seed), task, there)


def test_a_pair_of_images_gives_triplets_both_ways() -> None:
    one, other = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.uint8)
    words = Explanation(("[cover|coat] the {object}",), ("[free|bare] the {object}",))
    drawn = set()
    for seed in range(20):
        there, back = both_ways(one, other, words, np.random.default_rng(seed), object="red dog")
        assert there.before is back.after is one and there.after is back.before is other
        drawn |= {there.instruction, back.instruction}
    assert drawn == {f"{word} the red dog" for word in ("cover", "coat", "free", "bare")}
    every = list(every_wording("[cover|coat] the {object} [|now]"))
    assert len(every) == 4 and "coat the {object} now" in every
    with pytest.raises(KeyError, match="object"):
        both_ways(one, other, words, np.random.default_rng(0))


def test_an_overlay_comes_back_and_mixes_with_the_image() -> None:
    one = drawn_change(1)
    scene, mask = one.scene.image, one.target.mask
    drawn = encode_overlay(scene, mask, (255, 0, 255), strength=0.25)
    expected = np.rint(0.75 * scene[mask].astype(np.float32) + 0.25 * np.array([255, 0, 255], np.float32))
    assert np.array_equal(drawn[mask], expected) and np.array_equal(drawn[~mask], scene[~mask])
    assert np.array_equal(encode_overlay(scene, mask, (255, 0, 255), strength=0), scene)
    for paint in lessons.PAINTS:
        some = replace(one, paint=paint)
        assert mask_iou(decode_overlay(some.after, scene), mask, empty=1.0) > 0.95
    assert not decode_overlay(scene, scene).any()


def test_only_codes_of_images_stand_inside_of_an_image(predictor: ExplanatoryPredictor) -> None:
    model = predictor.model
    vocabulary, side = model.forms.vocabulary, model.visual.side
    answers = predictor.model.codes(predictor.model.tokens(torch.randint(512, (3, side, side))))
    assert answers.shape == (3, side, side)
    drawn = sampled(predictor, samples=3)
    assert drawn.shape == (3, 1 + side * (side + 1) + 1)
    image = set(vocabulary.ids("image"))
    for tokens in drawn.tolist():
        assert tokens[0] == vocabulary.first("start") and tokens[-1] == model.forms.end
        for row in range(side):
            start = 1 + row * (side + 1)
            assert set(tokens[start : start + side]) <= image
            assert tokens[start + side] == vocabulary.first("row") + row
    assert torch.equal(model.tokens(model.codes(drawn)), drawn)
    broken = ExplanatoryConfig(groups=[["text", 4], ["image", 8]], image_start=[0], row_ends=[1, 2])
    with pytest.raises(ValueError, match="3 rows needs as many row ends, not 2"):
        broken.answer_forms(3)


def sampled(predictor: ExplanatoryPredictor, samples: int) -> torch.Tensor:
    """Tokens of samples on one scene, ``int64[N, T]``."""
    from instructseg.systems.sequence.sampling import sample_answers

    codes = predictor.codes(drawn_change(3).scene.image)
    ids, mask = predictor.words.instructions([TEXT])
    with torch.no_grad():
        prefix = predictor.model.read(codes, ids, mask)
        options = SamplingOptions(samples=samples, seed=2)
        drawn = sample_answers(predictor.model.decoder, prefix, predictor.model.forms, options)
    return drawn.tokens[0]


def test_decoding_with_a_cache_is_the_forward_of_training(predictor: ExplanatoryPredictor) -> None:
    model = predictor.model
    codes = torch.cat([predictor.codes(drawn_change(seed).scene.image) for seed in (1, 2)])
    ids, mask = predictor.words.instructions([TEXT, "pour cyan over the blue square"])
    assert not mask[1, 0] and mask[0].all()
    with torch.no_grad():
        logits, answer = model(codes, ids, mask, codes.flip(0))
        found, state = model.decoder.start(model.read(codes, ids, mask))
        for place in range(6):
            torch.testing.assert_close(found, logits[:, place], atol=1e-4, rtol=1e-4)
            found = state.step(answer[:, place])
        # a prefix without its instruction is the same for all instructions
        free = [
            model.decoder.start(model.read(codes[:1], ids[row : row + 1], mask[:1] & False))[0]
            for row in (0, 1)
        ]
    torch.testing.assert_close(free[0], free[1], atol=1e-4, rtol=1e-4)


def test_the_z_loss_is_the_squared_logarithm_of_the_denominator() -> None:
    logits = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]])
    tokens = torch.tensor([[1, 0]])
    plain, with_z = token_losses(logits, tokens), token_losses(logits, tokens, 0.1)
    for place in range(2):
        row = [np.exp(float(one)) for one in logits[0, place]]
        total = np.log(sum(row))
        assert float(plain[0, place]) == pytest.approx(
            total - float(logits[0, place, tokens[0, place]]), rel=1e-5
        )
        assert float(with_z[0, place] - plain[0, place]) == pytest.approx(0.1 * total**2, rel=1e-4)
    shifted = token_losses(logits + 7, tokens, 0.1)  # what cross-entropy cannot see
    assert (shifted > with_z).all() and torch.allclose(token_losses(logits + 7, tokens), plain, atol=1e-5)


def test_right_tokens_are_a_mask_and_a_drawing(predictor: ExplanatoryPredictor) -> None:
    model, values = predictor.model, []
    for seed in range(12):
        one = drawn_change(seed)
        before, after = predictor.codes(one.scene.image), predictor.codes(one.after)
        tokens = model.tokens(torch.cat([after, after, before]))
        answer = predictor._answer(one.scene.image, before[0], tokens, torch.full(tokens.shape, 0.5))
        assert answer.agreement == pytest.approx(2 / 3) and answer.certainty == pytest.approx(0.5)
        assert np.abs(answer.probability[answer.mask] - 2 / 3).max() < 1e-6
        values.append(mask_iou(answer.mask, one.target.mask, empty=1.0))
        known = predictor.image(before, 64, 64)
        assert evaluation.overlay_overlap(answer.drawn, known, one) == pytest.approx(values[-1])
        other = replace(one, paint=next(paint for paint in lessons.PAINTS if paint != one.paint))
        assert evaluation.overlay_overlap(answer.drawn, known, other) == 0
        assert evaluation.overlay_overlap(known, known, one) == 0
    assert np.mean(values) > 0.7
    for seed in range(10):  # another image, and no edit, also where walls are nearly as grey as their distance
        one = drawn_change(seed, "depth")
        codes = [predictor.codes(some) for some in (encode_depth(one.scene.depth), one.scene.image)]
        assert not changed(*(predictor.image(some, 64, 64) for some in codes)).any()


def test_predictions_have_the_drawing_and_say_who_made_them(predictor: ExplanatoryPredictor) -> None:
    image = np.repeat(drawn_change(3).scene.image, 2, 1)
    texts = [TEXT, "pour white over the blue square"]
    found = predictor.predict(image, texts, samples=2)
    assert [one.instruction_id for one in found] == [0, 1] and len(found) == 2
    for one in found:
        assert one.mask.shape == (64, 128) and one.system == "Explanatory Instructions"
        assert one.drawn is not None and one.drawn.shape == image.shape and 0 <= one.score <= 1
    again = predictor.predict(image, texts, samples=2)
    assert all(np.array_equal(a.drawn, b.drawn) for a, b in zip(found, again, strict=True))
    guided = predictor.predict(image, TEXT, guidance=2.0, task="res", threshold=1.0)[0]
    assert not guided.found or guided.presence == 1.0
    assert np.array_equal(predictor.encode(image), image)


def test_the_overlay_of_a_sample_is_computed_once(predictor: ExplanatoryPredictor, monkeypatch: Any) -> None:
    seen: list[np.ndarray] = []

    def counted(drawn: np.ndarray, known: np.ndarray) -> np.ndarray:
        seen.append(drawn)
        return decode_overlay(drawn, known)

    monkeypatch.setattr(explanatory_predictor, "decode_overlay", counted)
    predictor.predict(drawn_change(0).scene.image, "cover the red circle with cyan", samples=3)
    assert len(seen) == 3


def test_requests_of_other_systems_are_refused(predictor: ExplanatoryPredictor) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for options, message in (
        ({"union": True}, "knows no union"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"task": "vqa"}, "has no mask"),
    ):
        with pytest.raises(ValueError, match=message):
            predictor.predict(image, TEXT, **options)
    with pytest.raises(ValueError, match="know no word of 'zebra'"):
        predictor.predict(image, "zebra")


def test_saved_and_loaded_weights_answer_alike(predictor: ExplanatoryPredictor, tmp_path: Path) -> None:
    predictor.model.processor = predictor.words
    predictor.model.save_pretrained(tmp_path)
    loaded = load(tmp_path, device="cpu")
    assert isinstance(loaded, ExplanatoryPredictor)
    assert torch.equal(sampled(predictor, 2), sampled(loaded, 2))
    with pytest.raises(ValueError, match="leave out these options"):
        load(tmp_path, quantize="int8")


def test_lessons_keep_out_what_the_evaluation_asks() -> None:
    words = set(lessons.every_word())
    for task, kept in lessons.UNSEEN.items():
        for seen, unseen in ((lessons.WORDS[task].there, kept.there), (lessons.WORDS[task].back, kept.back)):
            every = {one for line in seen for one in every_wording(line)}
            assert not every & set(unseen)
            assert {word for line in unseen for word in line.split() if "{" not in word} <= words
    assert {word for line in lessons.UNTAUGHT for word in line.split() if "{" not in word} <= words
    pairs = [(name, paint) for name in ALL_NAMES for paint in lessons.PAINTS]
    assert sum(lessons.is_kept_out(*pair) for pair in pairs) == len(pairs) / 6
    rng = np.random.default_rng(0)
    for _ in range(40):
        for kept in (False, True):
            one = lessons.draw_change(rng, "overlay", True, kept_out=kept)
            assert lessons.is_kept_out(one.target.name, one.paint) == kept
    drawn = [lessons.lesson_triplet(one, rng) for one in lessons.draw_changes(rng, 60)]
    assert all(set(one.instruction.split()) <= words for one in drawn)
    grey = [np.ptp(one.after.astype(int), axis=2).max() == 0 for one in drawn]
    assert 0 < np.mean(grey) < 0.5 and set(COLOURS) & set(" ".join(one.instruction for one in drawn).split())


def test_a_step_trains_every_part_but_the_codes() -> None:
    model, words = recipe.new_model(seed=1)
    source = recipe.lesson_source(words, 4, 3)
    batch, _ = source.batch(0)
    before = model.visual.codebook.clone()
    output = recipe.ExplanatoryLesson(model)(batch)
    output.total.backward()
    still = {name for name, one in model.named_parameters() if one.grad is None}
    assert still == {"visual.patches.embedding.weight"} and torch.equal(before, model.visual.codebook)
    again, _ = source.batch(0)
    assert torch.equal(batch.after, again.after) and len(source.names(0)) == len(batch) == 4


def test_cells_of_the_object_are_asked_for_where_there_is_one(predictor: ExplanatoryPredictor) -> None:
    batch, _ = recipe.lesson_source(predictor.words, 40, 5).batch(0)
    assert batch.grounds.shape == (40, 64) and 0 < batch.phrased.sum() < 40
    moved = (batch.before - batch.after).abs().amax(1).flatten(1).mean(1)
    assert (batch.grounds[batch.phrased].sum(1) > 0).all() and (moved[batch.phrased] < moved.max()).all()
    lesson, free = recipe.ExplanatoryLesson(predictor.model), replace(batch, phrased=batch.phrased & False)
    with torch.no_grad():
        assert lesson(batch).losses["grounds"] > 0 == lesson(free).losses["grounds"]


def test_the_instruction_scales_tokens_of_the_input_image(predictor: ExplanatoryPredictor) -> None:
    model = predictor.model
    codes = predictor.codes(drawn_change(2).scene.image).repeat(2, 1, 1)
    ids, mask = predictor.words.instructions([TEXT, TEXT.replace("red", "blue")])
    with torch.no_grad():
        red, blue = model.read(codes, ids, mask).states[:, ids.shape[1] :]
        free, other = model.read(codes, ids, torch.zeros_like(mask)).states[:, ids.shape[1] :]
    factors = red / blue
    assert (factors - factors[:1]).abs().median() < 1e-3 and not torch.allclose(red, blue, atol=1e-3)
    assert torch.equal(free, other)


def test_the_loss_is_half_of_what_changes(predictor: ExplanatoryPredictor) -> None:
    model = predictor.model
    batch, _ = recipe.lesson_source(predictor.words, 3, 5).batch(0)
    with torch.no_grad():
        found = recipe.ExplanatoryLesson(model)(batch)
        before, after = model.visual.encode(batch.before), model.visual.encode(batch.after)
        logits, tokens = model(before, batch.ids, batch.mask, after)
    old, values = model.tokens(before), []
    for row in range(3):
        losses = token_losses(logits[row : row + 1], tokens[row : row + 1], model.config.z_loss)[0]
        moved = [float(one) for one, a, b in zip(losses, tokens[row], old[row], strict=True) if a != b]
        values.append((float(losses.mean()) + np.mean(moved)) / 2)
    assert float(found.losses["tokens"]) == pytest.approx(np.mean(values), rel=1e-4)


def test_the_recipe_trains_and_measures(tmp_path: Path) -> None:
    words = ["batch=2", f"output_dir={tmp_path}", "train.max_steps=2", "scenes=2"]
    folder = train.train(CONFIG, words)
    assert isinstance(load(folder, device="cpu"), ExplanatoryPredictor)
    results = train.evaluate(CONFIG, words)
    rows = results["tasks"]
    assert len(rows) == 5 and rows["a task without a lesson: a mask"]["unseen_wording"] is None
    overlay, depth = rows["lay a colour over an object"], rows["turn colours into distance"]
    assert 0 <= overlay["measured"] <= 1 and overlay["ceiling"] > 0.6
    assert depth["ceiling"] < 0.6 < depth["baseline"]
    assert "Explanatory (tiny) | take it off again | PSNR, dB" in table_of([results])


def test_the_measures_against_a_plain_computation(predictor: ExplanatoryPredictor) -> None:
    some = evaluation.DrawnTask(predictor, 3)
    one = some.changes(evaluation.DISTANCE)[0]
    right = encode_depth(one.scene.depth)
    assert evaluation.depth_error(right, right, one) < (10 / 255) ** 2
    far = np.full_like(right, 255)
    assert evaluation.depth_error(far, far, one) == pytest.approx(
        float(((10 - one.scene.depth) ** 2).mean()), 1e-4
    )
    assert evaluation.psnr(right, right) == 60
    shifted = np.clip(right.astype(int) + 5, 0, 255).astype(np.uint8)
    assert evaluation.psnr(shifted, right) == pytest.approx(20 * np.log10(255 / 5), abs=0.2)
    masks = some.changes(evaluation.MASKED)
    assert evaluation.mask_overlap(masks[0].after, right, masks[0]) == 1
