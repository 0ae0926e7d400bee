"""VisionLLM: location tokens, requests, the attention of parallel blocks, matching, storage, both sizes."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from instructseg.loading import load
from instructseg.systems import locations
from instructseg.systems.visionllm import class_dictionary as words
from instructseg.systems.visionllm import format_queries
from instructseg.systems.visionllm.class_dictionary import ClassRequest, OutputFormat, parse_request
from instructseg.systems.visionllm.guided_tokenizer import ImageTokens
from instructseg.systems.visionllm.visionllm_config import full_config
from instructseg.systems.visionllm.visionllm_model import ObjectLogits, VisionLLM
from instructseg.systems.visionllm.visionllm_predictor import DetectedObject, VisionLLMPredictor
from recipes.systems import train
from recipes.systems import visionllm as recipe
from recipes.systems import visionllm_lessons as lessons
from recipes.systems import visionllm_losses as set_losses
from recipes.systems.table import table_of
from recipes.systems.visionllm_start import tiny_model, word_processor

CONFIG = Path(__file__).parents[2] / "configs" / "systems" / "visionllm_tiny.yaml"
VOCABULARY = [
    "find",
    "all",
    "the",
    "circles",
    "circle",
    "squares",
    "square",
    "triangle",
    "red",
    "blue",
    "object",
]


def shape(kind: str, side: int = 96) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    if kind == "circle":
        cv2.circle(mask, (50, 40), 20, 1, -1)
    elif kind == "square":
        mask[30:70, 20:60] = 1
    else:
        cv2.fillPoly(mask, [np.array([[45, 20], [75, 80], [12, 70]])], 1)
    return mask > 0


@pytest.fixture(scope="module")
def predictor() -> VisionLLMPredictor:
    processor = word_processor(VOCABULARY)
    return VisionLLMPredictor(tiny_model(processor), processor)


def prompt_of(predictor: VisionLLMPredictor, *texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    return predictor.processor.prompts([parse_request(text).prompt() for text in texts])


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize(("half", "tokens"), [(512, 1025), (128, 257)])
def test_every_location_token_is_reached_and_comes_back(half: int, tokens: int) -> None:
    bins = np.arange(-half, half + 1)
    assert len(bins) == tokens
    assert np.array_equal(locations.to_bins(locations.from_bins(bins, half), half), bins)
    offsets = np.random.default_rng(0).uniform(-1, 1, 1000)
    back = locations.from_bins(locations.to_bins(offsets, half), half)
    assert np.abs(back - offsets).max() <= 0.5 / half + 1e-12
    assert locations.to_bins(np.array([-3.0, 3.0]), half).tolist() == [-half, half]


def test_absolute_bins_are_a_thousand() -> None:
    reached = locations.to_bins(np.linspace(-0.5, 1.5, 20001), 999, absolute=True)
    assert np.array_equal(np.unique(reached), np.arange(1000))


@pytest.mark.parametrize(("points", "ceiling"), [(8, 0.945), (14, 0.967), (16, 0.969), (24, 0.976)])
def test_polygons_keep_the_shape(points: int, ceiling: float) -> None:
    found = []
    for kind in ("circle", "square", "triangle"):
        mask = shape(kind)
        polygon = locations.mask_polygon(mask, points)
        assert polygon.shape == (points, 2)
        binned = locations.from_bins(locations.to_bins(polygon, 512, absolute=True), 512)
        back = locations.polygon_mask(binned, *mask.shape)
        found.append((mask & back).sum() / (mask | back).sum())
    assert np.mean(found) >= ceiling, found


def test_polygons_start_above_the_middle_and_run_clockwise() -> None:
    (left, top), (right, bottom) = locations.mask_box(shape("square"))
    polygon = locations.mask_polygon(shape("square"), 8)
    assert np.allclose(polygon[0], [(left + right) / 2, top])
    assert np.allclose(
        polygon[[2, 4, 6]],
        [[right, (top + bottom) / 2], [(left + right) / 2, bottom], [left, (top + bottom) / 2]],
    )
    with pytest.raises(ValueError, match="at least 3 points"):
        locations.mask_polygon(shape("circle"), 2)
    with pytest.raises(ValueError, match="empty mask"):
        locations.mask_polygon(np.zeros((4, 4), bool), 8)


@pytest.mark.parametrize(
    ("text", "names", "points", "single"),
    [
        ("find all circles and squares", ("circle", "square"), 16, False),
        ("the red circle", ("red circle",), 16, True),
        (
            "Detect every triangle, square and blue object as boxes.",
            ("triangle", "square", "blue object"),
            None,
            False,
        ),
        ("segment all squares with 8 points", ("square",), 8, False),
        ("show me the red circle as a polygon of 24 points", ("red circle",), 24, True),
        ("could you show me where all the buses are?", ("bus",), 16, False),
        ("outline the circle in the image", ("circle",), 16, True),
    ],
)
def test_classes_and_format_are_read_from_words(
    text: str, names: tuple[str, ...], points: int | None, single: bool
) -> None:
    request = parse_request(text)
    assert (request.names, request.output.points, request.single) == (names, points, single)


def test_requests_without_a_class_or_with_a_wrong_format_are_refused() -> None:
    with pytest.raises(ValueError, match="names no class"):
        parse_request("find all")
    with pytest.raises(ValueError, match="ask for 3 to 24"):
        parse_request("the circle with 99 points")


def test_the_dictionary_stands_in_the_prompt(predictor: VisionLLMPredictor) -> None:
    request = ClassRequest("Find all", ("circle", "red square"), OutputFormat())
    assert request.prompt([7, 2]) == "find all { circle : <c7> , red square : <c2> } ( c , x1 , y1 , x2 , y2 )"
    ids, mask = predictor.processor.prompts([request.prompt([7, 2]), "the circle"])
    config, given = predictor.model.config, predictor.processor.tokenizer
    assert ids[0, 5] == config.first_class + 7 and mask.sum(1).tolist() == [ids.shape[1], 2]
    rows = [given.convert_tokens_to_ids(one) for one in ("<c0>", "<none>", "<p-64>", "<p64>")]
    last = config.language_config.vocab_size - 1
    assert rows == [config.first_class, config.first_location - 1, config.first_location, last]
    assert predictor.processor.unknown_words("red dog") == ["<unk>"] or predictor.processor.unknown_words(
        "red dog"
    )
    assert words.class_request(["Circle", "circle"]).names == ("circle",)


def test_the_attention_mask_against_a_loop() -> None:
    text = torch.tensor([[True, True, True], [True, False, False]])
    tokens, count, length = torch.tensor([[2, 0], [1, 1]]), 3, 2
    mask = format_queries.attention_mask(text, tokens, count, length)[:, 0]
    size = 3 + count + 2 * length
    for row, i, j in itertools.product(range(2), range(size), range(size)):
        if j < 3:
            seen = bool(text[row, j]) and (i >= 3 or j <= i)
        elif j < 3 + count:
            block = (i - 3 - count) // length
            seen = i >= 3 and (i < 3 + count or int(tokens[row, block]) == j - 3)
        else:
            seen = i >= 3 + count and (i - 3 - count) // length == (j - 3 - count) // length and j <= i
        assert bool(mask[row, i, j]) == (seen or i == j), (row, i, j)


def test_class_tokens_carry_the_three_tokens_before_them() -> None:
    rows = torch.randn(1, 6, 4)
    classes = torch.tensor([[-9, -9, -9, 1, 7, 0]])  # 7 is no class token
    spots, names = format_queries.bound_names(rows, classes, 3)
    assert spots.nonzero().tolist() == [[0, 3, 1], [0, 5, 0]]
    torch.testing.assert_close(names[0], torch.stack([rows[0, 2:5].sum(0), rows[0, :3].sum(0), torch.zeros(4)]))


def test_parallel_decoding_equals_decoding_one_object_at_a_time(predictor: VisionLLMPredictor) -> None:
    model, output = predictor.model, OutputFormat(5)
    ids, mask = prompt_of(predictor, "find all circles and squares", "the circle")
    with torch.no_grad():
        found = model.encode(predictor.processor.images([image(1), image(2)]), ids, mask)
        every = model.decode(found, ids, mask, output)
        for token in (0, 5, 15):
            alone = model.decode(found, ids, mask, output, torch.full((2, 1), token))
            torch.testing.assert_close(alone.classes[:, 0], every.classes[:, token], atol=1e-5, rtol=0)
            torch.testing.assert_close(alone.places[:, 0], every.places[:, token], atol=1e-5, rtol=0)
        longer = torch.nn.functional.pad(ids, (0, 3)), torch.nn.functional.pad(mask, (0, 3))
        padded = model.decode(found, *longer, output)
    torch.testing.assert_close(padded.places, every.places, atol=1e-5, rtol=0)
    assert every.places.shape == (2, 16, 10, 129) and every.offsets().shape == (2, 16, 5, 2)


def test_the_prompt_guides_the_image_tokens(predictor: VisionLLMPredictor) -> None:
    ids, mask = prompt_of(predictor, "the red circle", "the blue square")
    pixels = predictor.processor.images([image(3)] * 2)
    with torch.no_grad():
        states = predictor.model.encode(pixels, ids, mask).states
    assert not torch.allclose(states[0], states[1], atol=1e-4)
    assert all(one.text is None for one in predictor.model.tokenizer.detector.input_proj)  # type: ignore[union-attr]


def test_offsets_are_the_mean_near_the_likeliest_bin() -> None:
    logits = torch.full((1, 1, 4, 257), -30.0)
    logits[..., 128 + 64] = 5.0
    logits[..., 128 + 66] = 5.0
    logits[..., 0] = 4.0  # far away: takes no part
    offsets = ObjectLogits(torch.zeros(1, 1, 3), logits).offsets()
    torch.testing.assert_close(offsets, torch.full((1, 1, 2, 2), 65 / 128))


def random_targets(counts: list[int], points: int = 2) -> list[set_losses.ObjectTargets]:
    return [
        set_losses.ObjectTargets(torch.randint(0, 4, (n,)), torch.rand(n, 2), torch.rand(n, points, 2))
        for n in counts
    ]


def test_matching_against_all_assignments() -> None:
    torch.manual_seed(0)
    objectness, places = torch.randn(3, 4), torch.rand(3, 4, 2)
    targets = random_targets([2, 0, 3])
    row, token, number = set_losses.match_objects(objectness, places, targets)
    assert torch.bincount(row, minlength=3).tolist() == [2, 0, 3]

    def cost(r: int, t: int, n: int) -> float:
        p, target = objectness[r, t].sigmoid(), targets[r]
        gain = -0.25 * (1 - p) ** 2 * p.log() + 0.75 * p**2 * (1 - p).log()
        away = (places[r, t] - target.centres[n]).abs().sum()
        return float(2 * gain + 5 * away)

    for r in (0, 2):
        count = len(targets[r].classes)
        best = min(
            sum(cost(r, t, n) for n, t in enumerate(chosen))
            for chosen in itertools.permutations(range(4), count)
        )
        mine = [
            (t, n) for at, t, n in zip(row.tolist(), token.tolist(), number.tolist(), strict=True) if at == r
        ]
        assert abs(sum(cost(r, t, n) for t, n in mine) - best) < 1e-4


def test_losses_vanish_for_right_answers_and_ignore_other_classes() -> None:
    targets = random_targets([1, 0])
    objectness = torch.full((2, 1, 3), -20.0)
    objectness[0, 0, 1] = 20.0
    places = torch.full((2, 1, 3, 2), 0.9)
    places[0, 0, 1] = targets[0].centres[0]
    found = ImageTokens(torch.zeros(2, 3, 8), places, objectness)
    assert sum(set_losses.token_losses(found, targets).values()) < 1e-6
    classes = torch.zeros(2, 3, 5)
    classes[..., 4] = 20.0
    classes[0, 1, 4], classes[0, 1, targets[0].classes[0]] = 0.0, 20.0
    other = (int(targets[0].classes[0]) + 1) % 4
    classes[..., other] = 50.0  # of no dictionary
    allowed = torch.ones(2, 5, dtype=torch.bool)
    allowed[:, other] = False
    answers = ObjectLogits(classes, torch.zeros(2, 3, 4, 257))
    losses, figures = set_losses.answer_losses(answers, found, targets, allowed, torch.arange(3).expand(2, -1))
    assert losses["class"] < 1e-6 and figures["right_class"] == 1.0
    torch.testing.assert_close(losses["place"].item(), np.log(257), atol=1e-4, rtol=0)
    part, _ = set_losses.answer_losses(
        ObjectLogits(classes[:, 1:2], torch.zeros(2, 1, 4, 257)),
        found,
        targets,
        allowed,
        torch.ones(2, 1).long(),
    )
    assert part["class"] < 1e-6


def test_a_step_trains_every_part(predictor: VisionLLMPredictor) -> None:
    processor = predictor.processor
    model = tiny_model(processor, seed=1).train()
    ids, mask = prompt_of(predictor, "find all circles", "the square")
    found = model.encode(processor.images([image(4), image(5)]), ids, mask)
    answers = model.decode(found, ids, mask, OutputFormat())
    targets, allowed = random_targets([2, 1]), torch.ones(2, 17, dtype=torch.bool)
    losses, _ = set_losses.answer_losses(answers, found, targets, allowed, torch.arange(16).expand(2, -1))
    sum({**losses, **set_losses.token_losses(found, targets)}.values()).backward()  # type: ignore[union-attr]
    still = {name for name, one in model.named_parameters() if one.grad is None}
    assert not still


def test_saved_and_loaded_weights_answer_alike(predictor: VisionLLMPredictor, tmp_path: Path) -> None:
    predictor.model.processor = predictor.processor
    predictor.model.save_pretrained(tmp_path)
    loaded = VisionLLMPredictor.from_pretrained(tmp_path, device="cpu")
    request = parse_request("find all circles with 8 points")
    for one, other in zip(predictor.detect(image(6), request), loaded.detect(image(6), request), strict=True):
        assert one.score == other.score and np.array_equal(one.corners, other.corners)
    halves = load(tmp_path, device="cpu", dtype="bfloat16")
    assert isinstance(halves, VisionLLMPredictor) and str(halves.model.dtype) == "torch.bfloat16"
    assert halves.predict(image(6), "the circle", threshold=0.0)[0].system == "VisionLLM"
    with pytest.raises(ValueError, match="leave out these options"):
        load(tmp_path, quantize="int8")


def test_predictions_of_a_class_list_and_of_a_phrase(predictor: VisionLLMPredictor) -> None:
    frame = np.repeat(np.repeat(image(7), 2, 0), 3, 1)
    found = predictor.predict(frame, ["circle", "square"], arrange="instance", threshold=0.0)
    assert len(found) >= 2 and {one.label for one in found} == {"circle", "square"}
    assert all(one.mask.shape == (128, 192) and one.instruction == one.label for one in found)
    best = predictor.predict(frame, "the red circle", threshold=0.0)
    assert len(best) == 1 and best[0].label == "red circle" and best[0].instruction == "the red circle"
    none = predictor.predict(frame, ["the circle", "all squares as boxes"], threshold=1.0)
    assert [one.found for one in none] == [False, False] and [one.instruction_id for one in none] == [0, 1]
    with pytest.raises(ValueError, match="know no word of 'zebra'"):
        predictor.predict(frame, "all zebras")
    with pytest.raises(ValueError, match="leave out --arrange semantic"):
        predictor.predict(frame, ["circle"], arrange="semantic")


def test_an_object_is_given_once(predictor: VisionLLMPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def box(left: float, top: float) -> np.ndarray:
        return np.array([[left, top], [left + 0.3, top], [left + 0.3, top + 0.3], [left, top + 0.3]])

    sure, again, other = (
        DetectedObject(0, score, box(*place))
        for score, place in ((0.8, (0.1, 0.1)), (0.6, (0.12, 0.1)), (0.7, (0.6, 0.6)))
    )
    monkeypatch.setattr(predictor, "detect", lambda *_: [sure, other, again])
    found = predictor.predict(image(7), "all circles", threshold=0.5)
    assert [one.score for one in found] == [0.8, 0.7] and [one.id for one in found] == [1, 2]
    assert np.array_equal(found[0].mask, sure.mask(*found[0].mask.shape))


def test_more_classes_than_tokens_are_asked_in_groups(predictor: VisionLLMPredictor) -> None:
    names = [f"{one} {other}" for one, other in itertools.product(VOCABULARY, ("circle", "square"))][:20]
    found = predictor.detect(image(8), words.class_request(names))
    assert len(found) == 32 and max(one.name for one in found) >= 16 > min(one.name for one in found)


def test_the_full_size_stands_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = VisionLLM(full_config())
    parts = {name: sum(one.numel() for one in part.parameters()) / 1e6 for name, part in model.named_children()}
    assert 6700 < parts["language"] < 6900 and 105 < parts["text"] < 112 and 38 < parts["tokenizer"] < 44
    trained = {name for name, one in model.language.named_parameters() if one.requires_grad}
    assert all("lora_" in name or "embed_tokens" in name or "lm_head" in name for name in trained)
    assert sum("lora_" in name for name in trained) == 32 * 4 * 2
    config = model.config
    assert (config.classes, 2 * config.half_bins + 1, config.first_class) == (512, 1025, 32000)


def test_the_recipe_trains_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "SCENES", 2)
    words = ["batch=2", f"output_dir={tmp_path}", "train.max_steps=2", "scenes=2"]
    folder = train.train(CONFIG, words)
    trained = load(folder, device="cpu")
    assert isinstance(trained, VisionLLMPredictor) and 0.1 <= trained.model.config.min_score <= 0.9
    results = train.evaluate(CONFIG, words)
    assert len(results["tasks"]) == 8
    for row in results["tasks"].values():
        assert 0 <= row["measured"] <= 1 and (row["unseen_wording"] is None or 0 <= row["unseen_wording"] <= 1)
    assert "VisionLLM (tiny) | ground a phrase | P@.5" in table_of([results])


def test_lessons_bind_what_the_prompt_names() -> None:
    rng = np.random.default_rng(0)
    processor = word_processor([*VOCABULARY, "green", "yellow"])
    batch = lessons.draw_batch(rng, processor, 24, 16, stage=2)
    assert batch.allowed[:, 16].all() and (batch.allowed.sum(1) >= 2).all()
    for target, allowed in zip(batch.targets, batch.allowed, strict=True):
        assert allowed[target.classes].all()
        assert torch.allclose((target.corners.amin(1) + target.corners.amax(1)) / 2, target.centres, atol=0.05)
    fixed = lessons.list_lesson(rng, lessons.draw_scene(rng).objects, ["square", "circle"], 16, fixed=True)
    assert fixed.tokens == (1, 0)
    held_out = {*lessons.UNSEEN_LISTS, *lessons.UNSEEN_PHRASES}
    assert not held_out & {*lessons.LISTS, *lessons.PHRASES}
