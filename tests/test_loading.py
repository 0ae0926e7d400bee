"""Predictors by name: our own, and another system of one class and one row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.inference import ImagePredictor, TextPredictor, VideoPredictor
from instructseg.inference.predictor import RequestKeywords, SystemTraits, text_tasks_of, traits_of
from instructseg.inference.selection import AnswerOptions
from instructseg.loading import SYSTEMS, System, load, load_both, load_video
from instructseg.media import ImageLike, VideoSource, load_image
from instructseg.prediction import FrameResult, Prediction
from instructseg.structures import Task
from tests.cli.conftest import bundled, checkpoint, clip_frames, nano, workspace

__all__ = ["bundled", "checkpoint", "clip_frames", "nano", "workspace"]  # fixtures of others, used here

REDDEST = "reddest-pixels"


class Reddest:
    """A system that marks red pixels, whatever the instruction."""

    def predict(self, image: ImageLike, instructions: str | Sequence[str]) -> list[Prediction]:
        frame = load_image(image).astype(int)
        mask = frame[..., 0] > frame[..., 1:].max(-1) + 60
        given = [instructions] if isinstance(instructions, str) else instructions
        return [
            Prediction(mask, 0.5, 0.5, text, id=place + 1, instruction_id=place, image=load_image(image))
            for place, text in enumerate(given)
        ]


class ReddestVideo:
    def predict(
        self, video: VideoSource, instructions: str | Sequence[str], **options: RequestKeywords
    ) -> Iterator[FrameResult]:
        if options:
            raise ValueError(f"reddest pixels know no {', '.join(options)}")
        for index, frame in enumerate(video):
            yield FrameResult(index, frame, Reddest().predict(frame, instructions))


@pytest.fixture
def reddest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a checkpoint of the system above."""
    row = System(lambda name, **options: Reddest(), lambda name, **options: ReddestVideo())
    monkeypatch.setitem(SYSTEMS, REDDEST, row)
    folder = tmp_path / "red"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": REDDEST}))
    return str(folder)


def test_our_own_predictors_are_opened(checkpoint: Path) -> None:
    image = load(checkpoint, device="cpu", dtype="bfloat16")
    assert isinstance(image, ImagePredictor) and str(image.model.dtype) == "torch.bfloat16"
    assert isinstance(image, TextPredictor)
    assert isinstance(load_video(checkpoint, device="cpu"), VideoPredictor)
    with pytest.warns(DeprecationWarning, match="quantise= is now quantize="):
        assert load(checkpoint, device="cpu", quantise="int8").model.config.quantize == "int8"  # type: ignore


def test_both_predictors_have_the_same_weights(checkpoint: Path, reddest: str, monkeypatch: Any) -> None:
    images, videos = load_both(checkpoint, device="cpu")
    assert isinstance(images, ImagePredictor) and isinstance(videos, VideoPredictor)
    assert images.model is videos.model and images.processor is videos.processor
    assert [type(one) for one in load_both(reddest)] == [Reddest, ReddestVideo]
    monkeypatch.setitem(SYSTEMS, REDDEST, System(lambda name, **options: Reddest()))
    assert load_both(reddest)[1] is None


def test_predictors_tell_of_their_system(checkpoint: Path) -> None:
    predictor = load(checkpoint, device="cpu")
    traits = traits_of(predictor)
    assert traits.system == "InstructSeg" and not traits.words_decide and Task.RES in traits.tasks
    assert traits.threshold == predictor.rule(AnswerOptions()).threshold  # type: ignore[attr-defined]
    assert "zebra" in traits.note(["the zebra"])
    assert traits_of(Reddest()) == SystemTraits() and text_tasks_of(Reddest()) == ()
    assert SystemTraits().note(["zebra"]) == ""


def test_another_system_behind_the_command_line(reddest: str, workspace: Path) -> None:
    words = ["photo.png", "red", "--model", reddest, "-f", "masks,rle,overlay"]
    ran = CliRunner().invoke(app, ["image", *words])
    assert ran.exit_code == 0, ran.output
    expected = Reddest().predict("photo.png", "red")[0].mask
    assert np.array_equal(load_image("out/photo_masks/1-red.png")[..., 0] > 0, expected) and expected.any()
    ran = CliRunner().invoke(app, ["video", "clip.mp4", *words[1:]])
    assert ran.exit_code == 0, ran.output
    assert len(list(Path("out/clip_masks/1-red").iterdir())) == 7


def test_options_that_a_system_lacks_are_named(reddest: str, workspace: Path) -> None:
    ran = CliRunner().invoke(app, ["video", "clip.mp4", "red", "--model", reddest, "--spacing", "2"])
    assert ran.exit_code == 2 and "reddest pixels know no spacing" in ran.output
    ran = CliRunner().invoke(app, ["video", "clip.mp4", "red", "--model", reddest, "--compile"])
    assert ran.exit_code == 2 and "leave out --compile" in ran.output
    ran = CliRunner().invoke(app, ["image", "photo.png", "how many are there?", "--model", reddest])
    assert ran.exit_code == 2 and "have not learned to write" in ran.output


def test_a_system_of_images_alone(reddest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SYSTEMS, REDDEST, System(lambda name, **options: Reddest()))
    with pytest.raises(ValueError, match="segments images alone"):
        load_video(reddest)


def test_an_unknown_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="holds a model of type 'bert'"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError):
        load("no/such/place")
