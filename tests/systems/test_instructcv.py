"""InstructCV: what is asked, how noise is guided, what is loaded, and what the drawn images mean."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.loading import load, load_video
from instructseg.media import load_image, save_image
from instructseg.systems.codecs import (
    COLOURS,
    decode_depth,
    encode_boxes,
    encode_depth,
    encode_mask,
    encode_presence,
)
from instructseg.systems.instructcv import InstructCVPredictor
from instructseg.systems.instructcv.asked_task import AskedTask, parse_asked
from instructseg.systems.instructcv.instructcv_config import InstructCVConfig
from instructseg.systems.instructcv.space_to_depth import SpaceToDepth
from instructseg.systems.instructcv.tiny_pipeline import tiny_pipeline, word_tokenizer
from recipes.systems import instructcv as recipe
from recipes.systems.bank import BANK, RESERVED, bare, shortened, with_fillers
from recipes.systems.scenes import draw_scene
from recipes.systems.table import table_of
from recipes.systems.train import evaluate, train

CONFIG = "configs/systems/instructcv_tiny.yaml"


@pytest.fixture(scope="module")
def tiny() -> InstructCVPredictor:
    """The tiny model with random weights, in two steps."""
    return InstructCVPredictor(recipe.build_pipeline(), replace(recipe.SETTINGS, steps=2))


@pytest.fixture(scope="module")
def folder(tiny: InstructCVPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its checkpoint."""
    place = tmp_path_factory.mktemp("instructcv") / "tiny"
    tiny.save_pretrained(place)
    return place


@pytest.mark.parametrize("task", BANK)
def test_every_line_of_the_bank_is_understood(task: str) -> None:
    for line in BANK[task].train + BANK[task].held_out:
        text = line.format(object="red circle", yes="white", no="black").capitalize()
        name = "" if task == "depth" else "red circle"
        colours = ("white", "black") if task == "classify" else None
        assert parse_asked(text) == AskedTask(task, name, colours), text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Where is the traffic light?", AskedTask("detect", "traffic light")),
        ("Segment all people in the photo", AskedTask("segment", "people")),
        ("show red unless there is a dog, then green", AskedTask("classify", "dog", ("green", "red"))),
        ("is there a cat", AskedTask("segment", "cat")),
        ("locate the cat for me", AskedTask("detect", "cat")),
        ("show where the cats are", AskedTask("detect", "cats")),
        ("give me the silhouette of the cat please", AskedTask("segment", "cat")),
        ("i need a binary mask for the dog", AskedTask("segment", "dog")),
        ("use red if it has a dog, if not use blue", AskedTask("classify", "dog", ("red", "blue"))),
        ("if it has a dog use red, if not use blue", AskedTask("classify", "dog", ("red", "blue"))),
        ("red if there is a dog and with blue if not", AskedTask("classify", "dog", ("red", "blue"))),
    ],
)
def test_wording_beyond_the_bank(text: str, asked: AskedTask) -> None:
    assert parse_asked(text) == asked


def test_one_colour_for_yes_and_no_is_refused() -> None:
    with pytest.raises(ValueError, match="red for yes and for no"):
        parse_asked("display red if there is a dog, else display red")


def test_guidance_is_the_papers_formula(tiny: InstructCVPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, scheduler, seen = tiny.pipeline.unet, tiny.pipeline.scheduler, {}
    step, forward = scheduler.step, unet.forward

    def keep_step(made: torch.Tensor, time: Any, latents: torch.Tensor, **rest: Any) -> Any:
        seen.setdefault("guided", made)
        return step(made, time, latents, **rest)

    def keep_input(latents: torch.Tensor, time: Any, **rest: Any) -> Any:
        seen.setdefault("input", (latents, time, rest["encoder_hidden_states"]))
        return forward(latents, time, **rest)

    monkeypatch.setattr(scheduler, "step", keep_step)
    monkeypatch.setattr(unet, "forward", keep_input)
    frame = draw_scene(np.random.default_rng(0), 32).image
    asked = InstructCVPredictor(
        tiny.pipeline, replace(tiny.config, steps=1, text_guidance=3.0, image_guidance=1.5)
    )
    asked.draw([frame], ["segment the red circle"])
    latents, time, _ = seen["input"]
    noise, pixels = latents[:1, :48], torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
    image = SpaceToDepth(4).encode(pixels).latents
    ids = tiny.pipeline.tokenizer(["segment the red circle", ""], padding="max_length", max_length=24).input_ids
    with torch.no_grad():
        text, empty = (tiny.pipeline.text_encoder(torch.tensor([row]))[0] for row in ids)

        def velocity(condition: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
            return forward(torch.cat([noise, condition], 1), time, encoder_hidden_states=words).sample

        nothing, image_only = velocity(0 * image, empty), velocity(image, empty)
        both = velocity(image, text)
    expected = nothing + 1.5 * (image_only - nothing) + 3.0 * (both - image_only)
    torch.testing.assert_close(seen["guided"], expected, atol=1e-4, rtol=1e-4)


def test_the_released_layout_is_loaded(tmp_path: Path) -> None:
    saved = random_release()
    saved.save_pretrained(tmp_path, safe_serialization=True)
    assert not (tmp_path / "config.json").exists() and (tmp_path / "vae").is_dir()
    loaded = load(tmp_path, device="cpu")
    assert isinstance(loaded, InstructCVPredictor) and loaded.config == InstructCVConfig()
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = (getattr(one, part).state_dict() for one in (loaded.pipeline, saved))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    loaded.config = replace(loaded.config, steps=1, image_size=32)
    (found,) = loaded.predict(draw_scene(np.random.default_rng(0), 40).image, "estimate the depth")
    assert found.drawn is not None and found.drawn.shape == (40, 40, 3) and found.system == "InstructCV"
    (tmp_path / "vae" / "config.json").unlink()
    with pytest.raises(ValueError, match="no complete InstructCV checkpoint"):
        load(tmp_path, device="cpu")


def random_release() -> Any:
    """A pipeline of the classes that ``alaa-lab/InstructCV`` has, small and random."""
    from diffusers import (
        AutoencoderKL,
        EulerAncestralDiscreteScheduler,
        StableDiffusionInstructPix2PixPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = word_tokenizer(["depth", "segment"])
    blocks = {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    sides = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    levels = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    unet = UNet2DConditionModel(
        sample_size=4,
        in_channels=8,
        out_channels=4,
        cross_attention_dim=16,
        attention_head_dim=2,
        **{**blocks, "block_out_channels": (8, 8)},
        **levels,
    )
    return StableDiffusionInstructPix2PixPipeline(
        vae=AutoencoderKL(latent_channels=4, **blocks, **sides),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def test_another_pipeline_and_damaged_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ValueError, match="FluxPipeline, and not one of StableDiffusionInstructPix2PixPipeline"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "instructcv", "steps": 0}')
    with pytest.raises(ValueError, match=r"config.json: steps must be a number from 1"):
        load(tmp_path)
    with pytest.raises(ValueError, match="has no quantize"):
        load(tmp_path, quantize="int8")
    (tmp_path / "config.json").write_text('{"model_type": "instructcv"}')
    with pytest.raises(ValueError, match="unknown dtype 'tensor'"):
        load(tmp_path, dtype="tensor")
    with pytest.raises(ValueError, match="images alone"):
        load_video(tmp_path)


def test_a_saved_model_draws_the_same_and_samples_have_their_own_noise(
    tiny: InstructCVPredictor, folder: Path
) -> None:
    again = load(folder, device="cpu")
    assert isinstance(again, InstructCVPredictor) and again.config == tiny.config
    frames = [draw_scene(np.random.default_rng(seed), 32).image for seed in range(2)]
    words = ["segment the red circle", "estimate the depth of this image"]
    drawn = tiny.draw(frames, words, samples=2)
    assert drawn.shape == (2, 2, 32, 32, 3) and drawn.dtype == np.uint8
    assert np.array_equal(again.draw(frames, words, samples=2), drawn)
    assert not np.array_equal(drawn[0, 0], drawn[0, 1])
    alone = tiny.draw(frames[1:], words[1:], seed=1)[0, 0].astype(int)  # noise of the second sample
    assert np.abs(alone - drawn[1, 1]).max() <= 1


def meaning(frame: np.ndarray, asked: AskedTask, *drawn: np.ndarray) -> list[Any]:
    """The predictions that drawn images mean."""
    silent: Any = SimpleNamespace(set_progress_bar_config=lambda **rest: None)
    return InstructCVPredictor(silent, recipe.SETTINGS).decode(frame, asked, np.stack(drawn))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("segment the red circle", None),
        ("Please locate the blue square!", None),
        ("produce a segmentation of the red circle", "segment the red circle"),
        ("whereabouts is the red circle? a box", "detect the red circle"),
        ("visualise the depth", "estimate the depth of this image"),
        (
            "does it depict a red circle? green for yes, blue for no",
            "display green if the image contains a red circle, else display blue",
        ),
    ],
)
def test_unknown_words_are_replaced_by_plain_ones(
    tiny: InstructCVPredictor, monkeypatch: pytest.MonkeyPatch, text: str, said: str | None
) -> None:
    told: list[str] = []
    real = tiny.draw
    monkeypatch.setattr(
        tiny, "draw", lambda images, texts, *rest: told.extend(texts) or real(images, texts, *rest)
    )
    (found,) = tiny.predict(np.zeros((32, 32, 3), np.uint8), text)[:1]
    assert told == [said or text] and found.instruction == text
    if said is not None:  # the same request, in words of the training
        assert parse_asked(said) == parse_asked(text)
        tiny.predict(np.zeros((32, 32, 3), np.uint8), said)
        assert told[1:] == [said]


def test_an_instruction_that_would_be_cut_off_is_refused(tiny: InstructCVPredictor) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    assert tiny.predict(image, "segment the red circle")
    with pytest.raises(
        ValueError, match=r"'segment the .*' has \d+ tokens, and InstructCV reads 24: say it shorter"
    ):
        tiny.predict(image, "segment the extraordinarily quizzical red circle")


def test_perfect_drawings_are_perfect_answers() -> None:
    scene = draw_scene(np.random.default_rng(1), 64)
    one = scene.objects[0]
    (found,) = meaning(scene.image, AskedTask("segment", one.name), encode_mask(one.mask))
    assert np.array_equal(found.mask, one.mask) and found.score == 1 and found.drawn is None
    (found,) = meaning(scene.image, AskedTask("segment", one.name), encode_mask(0 * one.mask))
    assert not found.found and found.presence == 0
    (found,) = meaning(scene.image, AskedTask("depth"), encode_depth(scene.depth, recipe.FAR))
    assert np.abs(decode_depth(found.drawn, recipe.FAR) - scene.depth).max() <= recipe.FAR / 255
    colours = (COLOURS["white"], COLOURS["black"])
    asked = AskedTask("classify", one.name, ("white", "black"))
    for present in (True, False):
        (found,) = meaning(scene.image, asked, encode_presence(present, colours, (64, 64)))
        assert (found.text, found.presence) == (("yes", 1.0) if present else ("no", 0.0))


def test_of_several_drawings_the_box_that_most_agree_on_counts() -> None:
    frame = np.full((64, 64, 3), 90, np.uint8)
    box, other, colour = (8, 8, 40, 40), (44, 2, 60, 20), recipe.SETTINGS.box_colour
    wrong, right = encode_boxes(frame, [other], colour), encode_boxes(frame, [box], colour)
    (found,) = meaning(frame, AskedTask("detect", "dog"), wrong, right, right)
    assert found.box == box and found.score == pytest.approx(2 / 3) and np.array_equal(found.drawn, right)
    (found,) = meaning(frame, AskedTask("detect", "dog"), frame)
    assert not found.found and found.presence == 0
    both = encode_boxes(frame, [box, other], colour)
    first, second = meaning(frame, AskedTask("detect", "dogs"), both)
    assert {first.box, second.box} == {box, other} and first.drawn is not None and second.drawn is None


def test_behind_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = draw_scene(np.random.default_rng(2), 48).image
    save_image(Path("photo.png"), frame)
    words = ["photo.png", "estimate the depth", "segment the red circle", "--model", str(folder)]
    ran = CliRunner().invoke(app, ["image", *words, "-o", "out", "-f", "overlay,drawn,rle"])
    assert ran.exit_code == 0, ran.output
    assert "estimate the depth: an image, by InstructCV" in ran.output
    drawn = load_image("out/photo_drawn/1-estimate-the-depth.png")
    assert np.array_equal(drawn[..., 0], drawn[..., 1]) and drawn.shape == frame.shape
    overlay = load_image("out/photo_overlay.png")
    assert overlay.shape[1] == 96 and np.array_equal(overlay[:48, 48:], drawn)
    assert '"system": "InstructCV"' in Path("out/photo.json").read_text()
    ran = CliRunner().invoke(app, ["image", *words, "-o", "other", "--soft"])
    assert ran.exit_code == 2 and "InstructCV knows no soft" in ran.output
    ran = CliRunner().invoke(app, ["image", "photo.png", "is there a dog?", "--model", str(folder)])
    assert ran.exit_code == 2 and "make it a request, as 'estimate the depth'" in ran.output
    assert "reason_seg" not in ran.output  # which it does not have
    classes = ["photo.png", "--classes", "dog, cat", "--model", str(folder), "-o", "listed"]
    ran = CliRunner().invoke(app, ["image", *classes])
    assert ran.exit_code == 2 and "InstructCV knows no arrange (--classes)" in ran.output


def test_training_resumes_and_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [f"output_dir={tmp_path}", "batch=4", "train.optim.warmup_steps=1", "scenes=1"]
    train(CONFIG, [*few, "train.max_steps=1"])
    with pytest.raises(ValueError, match="add --resume"):
        train(CONFIG, few)
    saved = train(CONFIG, [*few, "train.max_steps=2"], resume=True)
    assert sorted(one.name for one in saved.iterdir() if one.is_dir()) == [
        "scheduler",
        "text_encoder",
        "tokenizer",
        "unet",
    ]
    monkeypatch.setattr(recipe, "CV_TASKS", ("segment", "classify"))
    values = evaluate(CONFIG, [*few, "protocol=paper"])
    assert values["tasks"]["segment"]["ceiling"] == 1 and (tmp_path / "results_paper.json").is_file()
    table = table_of([values])
    assert table.count("\n") == 3 and "| InstructCV (tiny), protocol of the paper | segment | mIoU |" in table
    with pytest.raises(ValueError, match="there is no 'instructcd'"):
        train(CONFIG, ["system=instructcd"])


def test_a_run_starts_from_weights_that_know_fewer_words(tmp_path: Path) -> None:
    earlier = tiny_pipeline(["segment", "red"], seed=3)
    InstructCVPredictor(earlier, recipe.SETTINGS).save_pretrained(tmp_path)
    started, new = recipe.build_pipeline(1, tmp_path), recipe.build_pipeline(1)

    def row(pipeline: Any, word: str) -> torch.Tensor:
        place = pipeline.tokenizer.convert_tokens_to_ids(word)
        rows: torch.Tensor = pipeline.text_encoder.get_input_embeddings().weight
        return rows[place]

    assert all(
        torch.equal(started.unet.state_dict()[key], one) for key, one in earlier.unet.state_dict().items()
    )
    assert torch.equal(row(started, "red"), row(earlier, "red")) and torch.equal(
        row(started, "box"), row(new, "box")
    )
    for part in ("final_layer_norm.weight", "encoder.layers.1.mlp.fc1.weight"):
        assert torch.equal(*(one.text_encoder.state_dict()[part] for one in (started, earlier)))
    with pytest.raises(ValueError, match="a run of visionllm has new weights"):
        train("configs/systems/visionllm_tiny.yaml", ["start=instructcv-tiny"])


def test_drawn_tasks_are_those_of_the_bank_and_perfect_answers_score_best() -> None:
    rng = np.random.default_rng(0)
    for task in recipe.CV_TASKS:
        drawn = [recipe.draw_task(rng, task, 0.5) for _ in range(12)]
        assert parse_asked(drawn[0].instruction).task == task
        perfect = recipe.score(drawn, [one.answer for one in drawn], False)
        blind = recipe.score(drawn, recipe._blind(drawn), False)
        assert (perfect < 0.05 and blind > 0.5) if task == "depth" else (perfect >= 0.9 > blind)
    tokenizer = word_tokenizer(["red"])
    source = recipe.lesson_source(tokenizer, 400, 0)
    batch, _ = source.batch(0)
    assert torch.equal(source.batch(0)[0].ids, batch.ids) and len(source.names(0)) == len(batch) == 400


def test_fillers_leave_the_words_of_an_instruction_in_their_order() -> None:
    rng, text = np.random.default_rng(5), "display cyan if there is a red circle"
    longer = [with_fillers(rng, text) for _ in range(200)]
    for one in longer:
        words = iter(one.split())
        assert all(word in words for word in text.split())  # each after the one before
    added = [len(one.split()) - len(text.split()) for one in longer]
    assert min(added) == 0 and 3 <= max(added) <= 9 and len(set(longer)) > 100


def test_words_are_left_out_while_the_instruction_stays_the_same() -> None:
    rng, words = np.random.default_rng(6), {"object": "red circle", "yes": "cyan", "no": "magenta"}
    for wording in BANK.values():
        for line in wording.train:
            assert bare(line) not in RESERVED, f"training has '{line}', which is held out but for fillers"
            for text in {shortened(rng, line) for _ in range(20)}:
                assert parse_asked(text.format(**words)) == parse_asked(line.format(**words)), text
                assert bare(text) not in RESERVED
    some = {shortened(rng, "locate the {object} with a box", 0.5) for _ in range(200)}
    assert {"locate {object}", "the {object} with box"} <= some
    assert not {"locate the {object}", "the {object}"} & some  # held out but for "please"; a mask


def test_absent_objects_are_asked_for_and_nothing_is_painted() -> None:
    rng = np.random.default_rng(7)
    for task, perfect in (
        ("segment", lambda one: 0 * one.scene.image),
        ("detect", lambda one: one.scene.image),
    ):
        drawn = [recipe.draw_task(rng, task) for _ in range(200)]
        absent = [one for one in drawn if one.name not in one.scene.names]
        assert 0.15 < len(absent) / len(drawn) < 0.35
        assert all(np.array_equal(one.answer, perfect(one)) for one in absent)
        assert recipe.score(absent, [one.answer for one in absent], False) == 1
        other = [encode_boxes(one.answer, [(4, 4, 20, 20)], (255, 0, 255)) for one in absent]
        if task == "detect":
            assert recipe.score(absent, other, False) == recipe.score(absent, other, True) == 0
        assert all(one.name in one.scene.names for one in (recipe.draw_task(rng, task, 0.0) for _ in range(30)))


def test_lines_around_every_object_weigh_more() -> None:
    lesson = recipe.DiffusionLesson(recipe.build_pipeline())
    batch, _ = recipe.lesson_source(word_tokenizer(["red"]), 8, 3).batch(0)
    asked = batch.tasks == recipe.CV_TASKS.index("detect")
    assert torch.equal(batch.lines.flatten(1).any(1), asked) and asked.any()
    changed = (batch.answer != batch.image)[asked]
    assert ((batch.lines[asked] == 1) | ~changed).all()  # what is drawn, and as much around the other objects
    values = []
    for lines in (batch.lines, 0 * batch.lines):
        torch.manual_seed(0)
        values.append(lesson(replace(batch, lines=lines)).figures)
    assert values[0]["detect"] > values[1]["detect"] and values[0]["segment"] == values[1]["segment"]


def test_every_word_of_an_instruction_is_one_token_and_none_is_cut_off(folder: Path) -> None:
    """Also of lines kept out of training; merges of one word used to take "square" and "yellow" apart."""
    from transformers import CLIPTokenizer

    made, read = recipe.build_pipeline().tokenizer, CLIPTokenizer.from_pretrained(folder / "tokenizer")
    for wording in BANK.values():
        for line in (*wording.train, *wording.held_out):
            text = line.format(object="yellow triangle", yes="magenta", no="white")
            tokens = made.tokenize(text)
            assert len(tokens) <= made.model_max_length - 2 and read.tokenize(text) == tokens
            if line in wording.train:
                assert [one.removesuffix("</w>") for one in tokens] == re.findall(r"\w+|[,?]", text)
