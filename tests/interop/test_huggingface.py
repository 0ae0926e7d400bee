"""transformers makes and runs the pipeline; files for the hub are valid and run."""

from __future__ import annotations

import base64
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import pipeline

from instructseg import cli
from instructseg.hub import DRAWN_IMAGE, DRAWN_MODEL
from instructseg.inference import ImagePredictor
from instructseg.interop import huggingface
from instructseg.interop.huggingface import EndpointHandler, write_hub_files, write_space
from instructseg.media import save_image
from tests.inference.conftest import checkpoint, nano
from tests.serve.conftest import image

__all__ = ["checkpoint", "nano"]


@pytest.fixture(autouse=True)
def registered() -> None:
    huggingface.register_pipeline()


def test_the_pipeline_of_transformers(checkpoint: Path, nano: Any, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", image(0))
    segment = pipeline("referring-segmentation", model=str(checkpoint))
    assert type(segment) is huggingface.ReferringSegmentationPipeline
    found = segment(str(tmp_path / "a.png"), ["the red circle", "big blue square"], threshold=0.0)
    right = ImagePredictor(*nano).predict(image(0), ["the red circle", "big blue square"], threshold=0.0)
    for one, other in zip(found, [p for p in right if p.found], strict=True):
        assert one["label"] == other.instruction and one["score"] == pytest.approx(other.score, abs=1e-4)
        assert ((np.asarray(one["mask"]) > 0) != other.mask).mean() < 0.01
        assert tuple(one["box"].values()) == pytest.approx(other.box, abs=2)
    assert segment(image(0), "the red circle", threshold=1.0) == []
    with pytest.raises(ValueError, match="unknown option treshold"):
        segment(image(0), "x", treshold=1.0)


SEGMENT = (
    f"found = pipeline('referring-segmentation', model={str(DRAWN_MODEL)!r})({str(DRAWN_IMAGE)!r}, 'the star')"
)
ORDERS = {
    "transformers first": f"from transformers import pipeline; import instructseg; {SEGMENT}",
    "instructseg first": "import instructseg, sys; assert not {'torch', 'transformers'} & set(sys.modules); "
    f"from transformers import pipeline; {SEGMENT}",
    "a part of it first": f"from instructseg.version import __version__; import transformers; "
    f"from transformers import pipeline; {SEGMENT}",
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_the_task_is_there_in_either_order_of_imports(order: str) -> None:
    subprocess.run([sys.executable, "-c", ORDERS[order]], check=True, timeout=120)


def test_a_published_folder_loads_by_every_door(nano: Any, tmp_path: Path) -> None:
    ImagePredictor(*nano).save_pretrained(tmp_path / "model")
    wheel = tmp_path / "instructseg-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"x")
    names = {path.name for path in write_hub_files(tmp_path / "model", "someone/things", wheel)}
    assert names == {"handler.py", "requirements.txt", "README.md"}
    assert (tmp_path / "model" / "requirements.txt").read_text() == f"./{wheel.name}\n"
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.pipeline_tag == "image-segmentation" and "someone/things" in card.content
    handler = runpy.run_path(str(tmp_path / "model" / "handler.py"))["EndpointHandler"](str(tmp_path / "model"))
    encoded = base64.b64encode(DRAWN_IMAGE.read_bytes()).decode()
    for one in handler(
        {"inputs": {"image": encoded, "instructions": "the star"}, "parameters": {"threshold": 0}}
    ):
        assert base64.b64decode(one["mask"])[:4] == b"\x89PNG" and one["label"] == "the star"
    (tmp_path / "model" / "README.md").write_text("mine")
    assert len(write_hub_files(tmp_path / "model", "someone/things")) == 2
    assert (tmp_path / "model" / "README.md").read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="save a predictor there first"):
        write_hub_files(tmp_path, "a/b")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "inputs needs image"),
        ({"inputs": "x"}, "inputs needs image"),
        ({"inputs": {"image": "AAAA", "instructions": "x"}}, "damaged"),
        ({"inputs": {"image": "é", "instructions": "x"}}, "ASCII"),
    ],
)
def test_a_wrong_request_of_an_endpoint_is_told(data: Any, said: str, checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=said):
        EndpointHandler(str(checkpoint))(data)


def test_a_space_starts_the_web_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_space(tmp_path / "space", "someone/things")
    head = (tmp_path / "space" / "README.md").read_text().split("---\n")[1]
    told = yaml.safe_load(head)
    assert told["sdk"] == "gradio" and (tmp_path / "space" / told["app_file"]).is_file()
    assert told["models"] == ["someone/things"]
    assert "instructseg[app]" in (tmp_path / "space" / "requirements.txt").read_text()
    started: list[Any] = []
    monkeypatch.setattr(cli, "app", started.append)
    runpy.run_path(str(tmp_path / "space" / "app.py"))
    assert started == [["app", "--model", "someone/things", "--host", "0.0.0.0"]]


def test_the_bundled_model_through_the_pipeline() -> None:
    (found,) = pipeline("referring-segmentation", model=str(DRAWN_MODEL))(
        str(DRAWN_IMAGE), ["the red circle", "the dog"]
    )
    assert found["label"] == "the red circle" and found["score"] > 0.9
