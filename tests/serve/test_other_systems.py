"""The service and the page with the small weights of every other system, each as its predictor answers."""

from __future__ import annotations

import base64
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from instructseg.inference.predictor import SystemTraits, traits_of
from instructseg.loading import load_both
from instructseg.masks import rle_to_mask
from instructseg.media import load_image
from instructseg.prediction import Prediction
from instructseg.serve.limits import Limits
from instructseg.serve.page_actions import BY_WORDS, Page
from instructseg.serve.page_models import PageModels
from instructseg.serve.service import create_service
from instructseg.structures import Task
from tests.pages import ROOT
from tests.serve.conftest import wait_until_ready
from tests.serve.test_figure import Tree

TINY = ROOT / "recipes" / "systems" / "package" / "instructseg_tiny"
SCENE = TINY / "scene.jpg"
ASKED = {
    "explanatory-tiny": [
        "cover the red circle with a thin layer of cyan",
        "let grey tell how far each pixel is",
    ],
    "instructcv-tiny": ["segment the red circle", "detect the blue square", "estimate the depth"],
    "instructseq-tiny": ["segment the red circle in magenta", "label all pixels with a class"],
    "visionllm-tiny": ["all circles and squares with 8 points", "the yellow triangle as boxes"],
}
SYSTEMS = {
    "explanatory-tiny": "Explanatory Instructions",
    "instructcv-tiny": "InstructCV",
    "instructseq-tiny": "InstructSeq",
    "visionllm-tiny": "VisionLLM",
}


@cache
def opened(name: str) -> Any:
    """The predictors of small weights, of which the second is ``None``."""
    return load_both(TINY / name, device="cpu")


@pytest.fixture(params=ASKED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client_of(name: str) -> Any:
    return TestClient(create_service(name, lambda: opened(name)))


@pytest.fixture
def client(name: str) -> Iterator[Any]:
    with client_of(name) as one:
        wait_until_ready(one)
        yield one


def ask(client: Any, instructions: str | list[str], path: str = "/v1/segment", **fields: Any) -> Any:
    data = {"instructions": instructions, **fields}
    return client.post(path, files={"file": ("scene.jpg", SCENE.read_bytes())}, data=data)


def decoded(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def test_the_service_answers_as_the_predictor(client: Any, name: str) -> None:
    right = opened(name)[0].predict(load_image(SCENE), ASKED[name])
    reply = ask(client, ASKED[name], drawn=True)
    assert reply.status_code == 200, reply.text
    for found, one in zip(reply.json()["results"], right, strict=True):
        assert found["instruction"] == one.instruction and found["label"] == one.label
        assert found["system"] == one.system == SYSTEMS[name] and found["score"] == pytest.approx(one.score)
        assert found["box"] == (None if one.box is None else list(one.box)) and found["found"] == one.found
        np.testing.assert_array_equal(rle_to_mask(found["rle"]), one.mask)
        assert (found["drawn"] is None) == (one.drawn is None)
        if one.drawn is not None:
            assert (found["drawn"]["width"], found["drawn"]["height"]) == (256, 256)
            np.testing.assert_array_equal(decoded(base64.b64decode(found["drawn"]["png"])), one.drawn)
    assert any(one.found for one in right)
    for found in ask(client, ASKED[name]).json()["results"]:  # it says that there is an image, and keeps it
        assert found["drawn"] is None or found["drawn"]["png"] is None


def test_an_image_that_was_drawn_is_a_file(client: Any, name: str) -> None:
    reply = ask(client, ASKED[name][-1], "/v1/drawn")
    (right, *_) = opened(name)[0].predict(load_image(SCENE), ASKED[name][-1])
    if right.drawn is None:
        assert name == "visionllm-tiny" and reply.status_code == 422
        assert "no answer is an image" in reply.json()["detail"]
    else:
        assert reply.headers["content-type"] == "image/png"
        np.testing.assert_array_equal(decoded(reply.content), right.drawn)
    mask = ask(client, ASKED[name][0], "/v1/mask")
    assert mask.status_code == 200 and (decoded(mask.content) == 1).any()


def test_the_service_tells_of_the_system_and_refuses_videos(client: Any, name: str, video: Path) -> None:
    model = client.get("/v1/model").json()
    assert model["system"] == SYSTEMS[name] and model["videos"] is False
    assert model["presence_threshold"] is None and ("vqa" in model["tasks"]) == (name == "instructseq-tiny")
    for content in (video.read_bytes(), b"no video"):  # which is not even read
        reply = client.post("/v1/video", files={"file": content}, data={"instructions": "the red circle"})
        assert reply.status_code == 422
        assert reply.json()["detail"] == f"{SYSTEMS[name]} works on images only: see /v1/segment"


def test_words_to_questions_and_refusals_in_a_sentence() -> None:
    with client_of("instructseq-tiny") as client:
        wait_until_ready(client)
        first, second = ask(client, ["the red circle", "describe the image"]).json()["results"]
        assert first["text"] is None and first["found"] and second["system"] == "InstructSeq"
        caption = opened("instructseq-tiny")[0].answer(load_image(SCENE), "describe the image")
        assert second["text"] == caption != ""
        assert ask(client, "the image", task="vqa").json()["results"][0]["text"]
    with client_of("instructcv-tiny") as client:
        wait_until_ready(client)
        question = "is there a red circle? display green for yes, red for no"
        (found,) = ask(client, question, drawn=True).json()["results"]
        drawn = decoded(base64.b64decode(found["drawn"]["png"]))
        assert found["text"] in ("yes", "no") and drawn.shape == (256, 256, 3) and "rle" in found
        assert (found["presence"] > 0.5) == (found["text"] == "yes")
        for fields, said in (({"task": "vqa"}, "asks for words"), ({"task": "reason_seg"}, "has no task")):
            reply = ask(client, "the red circle", **fields)
            assert reply.status_code == 422 and said in reply.json()["detail"] and "Task." not in reply.text
        for question in ("is there a red circle?", "does the image show a dog", "what is in the image?"):
            reply = ask(client, question)
            assert reply.status_code == 422 and "says yes and no in colours" in reply.json()["detail"]
        assert ask(client, "how far is each pixel?").json()["results"][0]["drawn"]
    with client_of("visionllm-tiny") as client:
        wait_until_ready(client)
        reply = ask(client, "how many circles are there?")
        assert reply.status_code == 422 and "have not learned to write" in reply.json()["detail"]
        assert "know no word of 'dog'" in ask(client, "the dog").json()["detail"]


@pytest.fixture
def page(name: str, tmp_path: Path) -> Iterator[Page]:
    one = Page(*opened(name), tmp_path, name)
    yield one
    one.close()


def test_the_page_shows_what_a_system_finds_and_draws(page: Page, name: str) -> None:
    right: list[Prediction] = page.images.predict(load_image(SCENE), ASKED[name])
    assert page.threshold == 0 and "shows how its system works" in page.note
    figure, said = page.segment(str(SCENE), "\n".join(ASKED[name]), next(iter(page.tasks)))
    text = figure.html(0.0)
    tree = Tree(text)
    assert said == "" and text.count(f"by {SYSTEMS[name]}") == len(right)
    assert len(tree.all("path")) == sum(one.found for one in right)
    shown = [str(one["src"]) for one in tree.all("img")[1:]]
    drawn = [one.drawn for one in right if one.drawn is not None]
    for source, image in zip(shown, drawn, strict=True):
        np.testing.assert_array_equal(decoded(base64.b64decode(source.partition("base64,")[2])), image)
    path = page.pack(figure, 0.0, ["masks"])
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        kept = [archive.read(one) for one in archive.namelist() if "_drawn/" in one]
    assert not drawn or any(np.array_equal(decoded(file), drawn[-1]) for file in kept)


def test_videos_are_refused_on_the_page_in_a_sentence(page: Page, name: str) -> None:
    assert page.images_only == f"{SYSTEMS[name]} works on images only: use the tab Image."
    with pytest.raises(ValueError, match="works on images only"):
        next(page.segment_video("none.mp4", "the red circle", 0.0, threading.Event()))


def test_a_program_gets_the_address_of_what_was_drawn(page: Page, name: str) -> None:
    *_, last = page.answers(str(SCENE), ASKED[name])
    assert last["system"] == SYSTEMS[name] and last["score"] >= 0
    assert ("drawn" in last) == (name in ("explanatory-tiny", "instructcv-tiny"))
    if "drawn" in last:
        file = Path(last["drawn"].removeprefix("gradio_api/file="))
        right = page.images.predict(load_image(SCENE), ASKED[name][-1])[-1]
        assert page.results in file.parents
        np.testing.assert_array_equal(load_image(file), right.drawn)


def test_choices_of_the_page_are_those_of_the_system(tmp_path: Path) -> None:
    masks, words = "Masks of what is named", "Words"
    expected = {
        "explanatory-tiny": {BY_WORDS: None},
        "instructcv-tiny": {BY_WORDS: None, masks: Task.RES},
        "instructseq-tiny": {BY_WORDS: None, masks: Task.RES, words: Task.VQA},
        "visionllm-tiny": {masks: None},
    }
    for name, choices in expected.items():
        page = Page(*opened(name), tmp_path, "")
        assert page.tasks == choices and page.note == ""
        page.close()


def test_several_classes_of_an_instruction_are_told_apart(tmp_path: Path) -> None:
    page = Page(*opened("visionllm-tiny"), tmp_path, "")
    figure, _ = page.segment(str(SCENE), "all circles and squares\nthe red circle", next(iter(page.tasks)))
    page.close()
    names = [one.name for one in figure.regions]
    assert names == ["all circles and squares: circle", "all circles and squares: square", "the red circle"]
    assert [one.prediction(0.0).label for one in figure.regions] == ["circle", "square", "red circle"]
    hidden = figure.html(1.0)
    assert hidden.count("nothing found") == 4 and all(f"{name} – nothing" in hidden for name in names)


class Plain:
    """A system that says nothing of itself."""

    def predict(self, image: Any, instructions: Any, **options: Any) -> list[Prediction]:
        assert not options
        return [Prediction(np.ones((256, 256), bool), 0.5, 0.5, one) for one in instructions]


def test_a_system_that_says_nothing_is_served_too(tmp_path: Path) -> None:
    assert traits_of(Plain()) == SystemTraits()
    page = Page(Plain(), None, tmp_path, "plain")
    figure, _ = page.segment(str(SCENE), "red", BY_WORDS)
    page.close()
    assert list(page.tasks) == [BY_WORDS] and page.images_only.startswith("This model works on images only")
    assert figure.regions[0].prediction(0.0).mask.all()
    with TestClient(create_service("plain", lambda: (Plain(), None))) as client:
        wait_until_ready(client)
        assert ask(client, "red", "/v1/mask").status_code == 200
        assert ask(client, "red").json()["results"][0]["area"] == 256 * 256
        reply = client.post("/v1/video", files={"file": b"x"}, data={"instructions": "red"})
        assert reply.json()["detail"] == "plain works on images only: see /v1/segment"


def test_models_of_the_page_are_loaded_when_they_are_chosen(tmp_path: Path) -> None:
    asked: list[str] = []

    def load(name: str) -> Any:
        asked.append(name)
        if asked.count("broken") == 1 and name == "broken":
            raise FileNotFoundError("no folder 'broken'")
        return opened("visionllm-tiny")

    loads = {name: lambda name=name: load(name) for name in ("one", "broken", "two")}  # type: ignore[misc]
    models = PageModels(loads, tmp_path, Limits(waiting=7))
    assert asked == ["one"] and models.names == ["one", "broken", "two"]
    with pytest.raises(FileNotFoundError):
        models.page("broken")
    assert models.page("one") is models.first and models.page("broken").name == "broken"  # the next try
    assert models.page("broken") is models.page("broken") and asked == ["one", "broken", "broken"]
    assert models.page("broken").limits.waiting == 7
    with pytest.raises(ValueError, match="no model 'three': choose one of one, broken, two"):
        models.page("three")
    models.close()
    with pytest.raises(RuntimeError, match="busy"):
        models.first.segment(str(SCENE), "the red circle", next(iter(models.first.tasks)))
