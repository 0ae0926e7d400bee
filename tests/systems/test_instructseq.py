"""InstructSeq: answers to tokens and back, agreement of samples, storage, both sizes, the recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg.inference.predictor import TextPredictor
from instructseg.loading import load
from instructseg.structures import Task
from instructseg.systems.codecs import COLOURS, decode_classes, encode_classes, even_palette
from instructseg.systems.instructseq.instructseq_config import COLOUR_NAMES, full_config
from instructseg.systems.instructseq.instructseq_model import InstructSeq
from instructseg.systems.instructseq.instructseq_predictor import InstructSeqPredictor
from instructseg.systems.instructseq.sequence_answer import AnswerReader
from instructseg.systems.sequence.agreement import mask_overlap, most_agreeing
from instructseg.systems.sequence.sampling import SamplingOptions
from recipes.systems import instructseq as recipe
from recipes.systems import instructseq_evaluation as evaluation
from recipes.systems import instructseq_lessons as lessons
from recipes.systems import instructseq_start as start
from recipes.systems import train
from recipes.systems.grounding import Grounding, cell_shares
from recipes.systems.scenes import ALL_NAMES, SHAPES, siblings
from recipes.systems.table import table_of

CONFIG = Path(__file__).parents[2] / "configs" / "systems" / "instructseq_tiny.yaml"


@pytest.fixture(scope="module")
def predictor() -> InstructSeqPredictor:
    return InstructSeqPredictor(*recipe.new_model())


def drawn_image(seed: int) -> np.ndarray:
    return lessons.draw_lesson(np.random.default_rng(seed), "segment").scene.image


def coded(reader: AnswerReader, image: np.ndarray) -> list[int]:
    """Codes of an image, in the vocabulary."""
    pixels = start.prepare_images([image], reader.visual.size)
    return [reader.vocabulary.first("image") + int(one) for one in reader.visual.encode(pixels).flatten()]


def read(reader: AnswerReader, *rows: list[int], chances: float = 1.0) -> object:
    """The answer of samples of one length, in a batch with a longer one."""
    tokens = np.array([[*row, *[reader.forms.end] * 3] for row in rows])
    return reader.read(tokens, np.full(tokens.shape, chances), lessons.SIDE, lessons.SIDE)


def test_a_palette_comes_back_through_the_codes(predictor: InstructSeqPredictor) -> None:
    rng, values = np.random.default_rng(5), []
    for _ in range(10):
        one = lessons.draw_lesson(rng, "semantic")
        again = decode_classes(evaluation.codec_image(predictor, one.image), lessons.MAP_COLOURS)
        values.append(np.mean(again == one.classes))
        exact = decode_classes(encode_classes(one.classes, lessons.MAP_COLOURS), lessons.MAP_COLOURS)
        assert np.array_equal(exact, one.classes)
    assert np.mean(values) > 0.98
    assert np.array_equal(predictor.reader.palette, even_palette(len(SHAPES) + 1))


def test_masks_come_back_through_the_codes(predictor: InstructSeqPredictor) -> None:
    some = [lessons.draw_lesson(np.random.default_rng(n), "segment") for n in range(20)]
    values = []
    for one in some:
        tokens = [predictor.reader.vocabulary.first("colour") + COLOUR_NAMES.index(one.colour)]
        answer = read(predictor.reader, tokens + coded(predictor.reader, one.image), chances=0.25)
        assert answer.task == "segment" and answer.agreement == 1.0
        assert np.allclose(answer.confidence, 0.25 * 2 / 3, atol=1e-3)
        values.append(mask_overlap(answer.mask, one.mask))
    assert np.mean(values) > 0.85
    assert values == pytest.approx([evaluation.codec_overlap(predictor, one) for one in some])


def test_boxes_are_four_location_tokens(predictor: InstructSeqPredictor) -> None:
    reader = predictor.reader
    box = np.random.default_rng(0).uniform(0, 1, 4)
    tokens = reader.location_tokens(box)
    assert all(token in reader.vocabulary.ids("location") for token in tokens)
    assert np.abs(np.array(reader.box(tokens)) - box).max() <= 0.5 / 32 + 1e-9
    assert [reader.location_tokens(reader.box([one] * 4)) for one in tokens] == [[one] * 4 for one in tokens]
    others = [reader.location_tokens(some) for some in ((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.6), (0.6, 0.6, 1, 1))]
    answer = read(reader, others[2], others[0], others[1])
    assert answer.task == "detect" and answer.box == (0, 0, 0.5, 0.5)


def test_samples_of_one_form_agree(predictor: InstructSeqPredictor) -> None:
    reader, rng = predictor.reader, np.random.default_rng(2)
    one = lessons.draw_lesson(rng, "segment")
    codes, black = coded(reader, one.image), coded(reader, np.zeros_like(one.image))
    colour = [reader.vocabulary.first("colour") + COLOUR_NAMES.index(one.colour)]
    answer = read(reader, colour + black, colour + codes, colour + codes, colour + black, colour + codes)
    assert mask_overlap(answer.mask, one.mask) > 0.8 and answer.agreement == pytest.approx(0.6)
    inside, outside = (np.median(answer.confidence[some]) for some in (one.mask, ~one.mask))
    # three of five confirm it there, five of five elsewhere
    assert inside == pytest.approx(4 / 7) and outside == pytest.approx(6 / 7)
    assert np.median(answer.probability[one.mask]) == pytest.approx(0.6, abs=0.08)
    palette, other = [reader.vocabulary.first("palette")], lessons.draw_lesson(rng, "semantic")
    twice = palette + coded(reader, other.image)
    voted = read(reader, twice, palette + black, twice)
    assert (voted.classes == other.classes).mean() > 0.95
    assert np.array_equal(decode_classes(voted.drawn, reader.palette), voted.classes)
    words = [reader.words.answer(text) for text in ("a red circle", "a blue circle", "a red circle")]
    assert read(reader, *words).text == "a red circle"
    answer = read(reader, *(reader.words.answer(text) for text in ("yes", "no", "no", "no")))
    assert answer.text == "no" and answer.agreement == 0.25
    empty = read(reader, [], [], chances=0.4)
    assert (empty.text, empty.certainty) == ("", 0.4)  # was no number


def test_the_wording_or_the_task_chooses_the_form(predictor: InstructSeqPredictor) -> None:
    image = drawn_image(3)
    for task, form in predictor.model.config.forms.items():
        options = SamplingOptions(samples=3, seed=1)
        answer = predictor.answers([image], ["segment the red circle in white"], options, [task])[0]
        assert answer.task == task == form.name
    found = predictor.predict(
        np.repeat(image, 2, 1), ["the red circle", "a blue square"], samples=2, task="res"
    )
    assert [one.instruction_id for one in found] == [0, 1]
    for one in found:
        assert one.mask.shape == (64, 128) and one.system == "InstructSeq" and one.drawn is not None
        assert one.confidence is not None and one.confidence.shape == one.mask.shape
    hidden = predictor.predict(image, "the red circle", samples=1, task="res", threshold=1.0)[0]
    assert not hidden.found or hidden.presence == 1.0
    again = predictor.predict(image, "the red circle", samples=2, task="res")[0]
    same = predictor.predict(image, "the red circle", samples=2, task="res")[0]
    assert np.array_equal(again.mask, same.mask) and again.score == same.score


def test_questions_are_answered_in_words(predictor: InstructSeqPredictor) -> None:
    assert isinstance(predictor, TextPredictor) and Task.VQA in predictor.text_tasks
    image = predictor.encode(drawn_image(3))
    words = predictor.answer(image, "describe the image").split()
    assert set(words) <= {*lessons.every_word()}
    assert " ".join(words) == predictor.answers([image], ["describe the image"], tasks=["caption"])[0].text


def test_predictions_of_each_form(predictor: InstructSeqPredictor) -> None:
    reader, lesson = predictor.reader, lessons.draw_lesson(np.random.default_rng(7), "semantic")
    size = lesson.scene.image.shape[:2]
    answer = read(reader, [reader.vocabulary.first("palette"), *coded(reader, lesson.image)])
    found = predictor._predictions(answer, size, "segment all")
    assert {one.label for one in found} == {one.shape for one in lesson.scene.objects}
    box = predictor._predictions(read(reader, reader.location_tokens((0.25, 0, 0.75, 0.5))), size, "box")[0]
    assert box.box == (16, 0, 48, 32)
    wrong = predictor._predictions(read(reader, reader.location_tokens((0.75, 0, 0.25, 0.5))), size, "box")[0]
    assert not wrong.found
    text = predictor._predictions(read(reader, reader.words.answer("a red circle")), size, "what")[0]
    assert text.text == "a red circle" and not text.found


def test_requests_of_other_systems_are_refused(predictor: InstructSeqPredictor) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="knows no union"):
        predictor.predict(image, "the circle", union=True)
    with pytest.raises(ValueError, match="know no word of 'zebra'"):
        predictor.predict(image, "zebra")
    with pytest.raises(ValueError, match="longer than 40 tokens"):
        predictor.predict(image, "the circle " * 30)
    with pytest.raises(ValueError, match="has no mask"):
        predictor.predict(image, "the circle", task="vqa")
    with pytest.raises(ValueError, match="samples must be at least 1"):
        predictor.predict(image, "the circle", samples=0)


def test_an_instruction_that_is_left_out_is_unconditional(predictor: InstructSeqPredictor) -> None:
    image, model = drawn_image(3), predictor.model
    pixels = start.prepare_images([image] * 2, model.config.image_size)
    ids, mask = predictor.words.instructions(["the red circle", "a box of the blue square"])
    assert not mask[0].all() and mask[1].all()
    with torch.no_grad():
        free = model.read(pixels, ids, torch.zeros_like(mask))
        logits = model.decoder.start(free)[0]
    torch.testing.assert_close(logits[0], logits[1], atol=1e-4, rtol=1e-4)
    options = SamplingOptions(samples=2, guidance=2.0)
    assert predictor.sample([image], ["the red circle"], options, ["detect"]).tokens.shape == (1, 2, 5)


def test_saved_and_loaded_weights_answer_alike(predictor: InstructSeqPredictor, tmp_path: Path) -> None:
    predictor.model.processor = predictor.words
    predictor.model.save_pretrained(tmp_path)
    loaded = load(tmp_path, device="cpu")
    assert isinstance(loaded, InstructSeqPredictor)
    image = drawn_image(8)
    options = SamplingOptions(samples=2, seed=5)
    one, other = (some.sample([image], ["the red circle"], options, ["detect"]) for some in (predictor, loaded))
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(predictor.model.visual.codebook, loaded.model.visual.codebook)
    with pytest.raises(ValueError, match="leave out these options"):
        load(tmp_path, quantize="int8")


def test_the_full_size_stands_on_the_meta_device() -> None:
    config = full_config()
    with torch.device("meta"):
        model = InstructSeq(config)
    parts = {name: sum(one.numel() for one in part.parameters()) / 1e6 for name, part in model.named_children()}
    layers = parts["decoder"] - config.vocabulary.size * 1024 / 1e6
    assert 300 < parts["image"] < 310 and 350 < parts["text"] < 360 and 145 < layers < 160
    assert not any(one.requires_grad for one in model.text.parameters())
    assert model.visual.side == 32 and len(config.forms["segment"].groups) == 1 + 1024
    assert config.image_config.image_size // config.image_config.patch_size == 32


def test_patches_of_a_masked_autoencoder_keep_their_order() -> None:
    words = start.word_reader(lessons.every_word())
    config = start.tiny_config(len(words.tokenizer))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config.image_config = type(full_config().image_config)(
        image_size=64, patch_size=16, mask_ratio=0.0, **small
    )
    torch.manual_seed(0)
    model = InstructSeq(config).eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first, second = model._image_states(pixels), model._image_states(pixels)
        assert first.shape == (2, 16, 16) and torch.equal(first, second)
        flat = model.image.embeddings.patch_embeddings(pixels)
        order = torch.arange(16.0).expand(2, -1)
        kept = model.image.embeddings(pixels, noise=order)[0][:, 1:]
    positions = model.image.embeddings.position_embeddings[:, 1:]
    torch.testing.assert_close(kept, flat + positions)


def test_lessons_have_the_right_answers(predictor: InstructSeqPredictor) -> None:
    reader, rng = predictor.reader, np.random.default_rng(0)
    for task in lessons.SHARES:
        one = lessons.draw_lesson(rng, task)
        tokens = lessons.answer_tokens(one, reader)
        form = "caption" if task == "question" else task
        assert tokens[-1] == reader.forms.end and reader.forms.form_of(tokens[0]).name == form
        for place in range(len(tokens)):
            before = torch.tensor([tokens[:place]], dtype=torch.int64).reshape(1, -1)
            assert reader.forms.allowed(before)[0, tokens[place]]
        if task == "caption":
            assert reader.words.text(tokens) == one.scene.caption
    words = set(lessons.every_word())
    for wording in (*lessons.LINES.values(), lessons.DESCRIBED):
        assert not set(wording.train) & set(wording.held_out)
        assert {word for line in wording.held_out for word in line.split() if "{" not in word} <= words


def test_a_question_is_of_what_is_there_or_of_its_like() -> None:
    rng, said = np.random.default_rng(0), list[str]()
    for _ in range(60):
        one = lessons.draw_lesson(rng, "question")
        assert (one.text == "yes") == (one.name in one.scene.names) == one.mask.any()
        assert siblings(one.name, sorted(one.scene.names)) and one.phrase == one.name
        said.append(one.text)
    assert 15 < said.count("no") < 45


def test_a_description_names_no_shape_and_is_of_one_object_alone() -> None:
    for lines in (lessons.DESCRIBED.train, lessons.DESCRIBED.held_out):
        for line in lines:
            every = {lessons.describe(name, line) for name in ALL_NAMES}
            assert len(every) == len(ALL_NAMES)
            assert not any(shape in text for text in every for shape in SHAPES)
    drawn = [lessons.draw_lesson(np.random.default_rng(n), "detect", with_description=1.0) for n in range(5)]
    assert all("corners" in one.instruction and one.name not in one.instruction for one in drawn)


def test_each_cell_is_asked_whether_it_is_of_the_object(predictor: InstructSeqPredictor) -> None:
    rng = np.random.default_rng(4)
    batch = lessons.lesson_batch(rng, predictor.reader, 40)
    assert batch.grounds.shape == (40, 64) and 0 < batch.phrased.sum() < 40
    assert ((batch.grounds >= 0) & (batch.grounds <= 1)).all()
    assert not batch.phrased[~batch.mask.any(1)].any()  # nothing is asked without an instruction
    mask = np.zeros((64, 64), bool)
    mask[8:12, 16:24] = True
    shares = cell_shares([mask], lessons.CELLS)[0]
    assert shares.nonzero().tolist() == [[8 + 2]] and shares[10] == 0.5
    torch.manual_seed(0)
    lesson, states = Grounding(6), torch.randn(2, 4, 6)
    truth = torch.tensor([[1.0, 0, 0, 0], [0, 0.25, 0, 0]])
    chances = lesson.share(lesson.norm(states)).squeeze(-1).sigmoid()
    plain = -(truth * chances.log() + (1 - truth) * (1 - chances).log()).sum(1) / 2  # root of four cells
    torch.testing.assert_close(lesson(states, truth), plain)


def test_the_instruction_scales_image_tokens(predictor: InstructSeqPredictor) -> None:
    model, image = predictor.model, drawn_image(3)
    pixels = start.prepare_images([image] * 2, model.config.image_size)
    ids, mask = predictor.words.instructions(["the red circle", "the blue circle"])
    with torch.no_grad():
        red, blue = model.read(pixels, ids, mask).states[:, -64:]
        free, other = model.read(pixels, ids, torch.zeros_like(mask)).states[:, -64:]
    factors = red / blue
    assert (factors - factors[:1]).abs().median() < 1e-3  # one factor of each channel, the same in all cells
    assert not torch.allclose(red, blue, atol=1e-3) and torch.equal(free, other)


def test_a_step_trains_every_part_but_the_codes() -> None:
    model, words = recipe.new_model(seed=1)
    source = recipe.lesson_source(AnswerReader(model.config, model.visual, words), 6, 3)
    batch, _ = source.batch(0)
    before = model.visual.codebook.clone()
    output = recipe.SequenceTraining(model)(batch)
    output.total.backward()
    still = {name for name, one in model.named_parameters() if one.grad is None}
    assert still == {"visual.patches.embedding.weight"} and torch.equal(before, model.visual.codebook)
    again, _ = source.batch(0)
    assert torch.equal(batch.tokens, again.tokens) and len(source.names(0)) == len(batch) == 6


def test_fitted_codes_are_means_of_what_is_painted() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [5, 5], [-5, 5]], np.float32)
    painted = centres[rng.integers(1, 3, 200)] + rng.normal(0, 0.1, (200, 2))
    latents = np.concatenate([np.zeros((500, 2)), painted]).astype(np.float32)
    codes = start.fit_codes(latents, 3, 0)
    assert codes[0].tolist() == [0, 0]
    assert np.abs(codes[1:].numpy() - centres[np.argsort(-codes[1:, 0].numpy()).argsort() + 1]).max() < 0.1


def test_the_measure_of_six_samples_against_a_loop(predictor: InstructSeqPredictor) -> None:
    drawn = evaluation.Sampled(predictor, evaluation.draw_lessons("segment", 2, False))
    values, alone = [], []
    for some, lesson in zip(drawn.alone, drawn.lessons, strict=True):
        masks = [one.mask for one in some if one.mask is not None]
        alone += [mask_overlap(one, lesson.mask) for one in masks] + [0.0] * (len(some) - len(masks))
        kinds = [one.task for one in some]
        if max(set(kinds), key=kinds.count) == "segment":
            values.append(mask_overlap(masks[most_agreeing(masks, mask_overlap)], lesson.mask))
        else:
            values.append(0.0)
    assert drawn.single_overlap() == pytest.approx(np.mean(alone))
    assert drawn.overlap() == pytest.approx(np.mean(values))
    truth = np.array([[0, 1], [2, 0]])
    assert evaluation.class_overlap([(truth, truth)]) == pytest.approx(0.75)  # one of four classes is nowhere
    nothing = evaluation.class_overlap([(np.zeros_like(truth), truth)])
    assert nothing == pytest.approx(0.5 / 4)


def test_the_recipe_trains_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SCENES", 2)
    words = ["batch=2", f"output_dir={tmp_path}", "train.max_steps=2", "scenes=2"]
    folder = train.train(CONFIG, words)
    trained = load(folder, device="cpu")
    assert isinstance(trained, InstructSeqPredictor) and trained.model.config.calibration > 0
    results = train.evaluate(CONFIG, words)
    assert len(results["tasks"]) == 8
    for row in results["tasks"].values():
        assert 0 <= row["measured"] <= 1 and 0 <= row["unseen_wording"] <= 1
    assert "InstructSeq (tiny) | box of a phrase | P@.5" in table_of([results])
    assert set(COLOURS) - {"black"} == set(COLOUR_NAMES)
