"""The backend on the base classes of both published layouts; on the installed package over its own server."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from instructseg.media import load_image, save_image
from instructseg.version import __version__
from tests.interop.test_annotate import IMAGE, Recorded, _inside

CONFIG = """<View><Image name="image" value="$photo"/><{kind} name="object" toName="image">
<Label value="dog" predicted_values="the dog on the left"/><Label value="nothing"/></{kind}></View>"""
INSTALLED = importlib.util.find_spec("label_studio_ml") is not None


def parsed(kind: str) -> dict[str, Any]:
    """What ``parse_config`` of Label Studio makes of :data:`CONFIG`."""
    labels = {
        "dog": {"value": "dog", "predicted_values": "the dog on the left"},
        "nothing": {"value": "nothing"},
    }
    inputs = [{"type": "Image", "value": "photo", "valueType": None}]
    entry = {"type": kind, "to_name": ["image"], "inputs": inputs, "labels": [*labels], "labels_attrs": labels}
    return {"object": entry}


class PublishedBase:
    """What the backend uses of ``LabelStudioMLBase`` 1.0.9, which is on the package index."""

    def __init__(self, label_config: Any = None, train_output: Any = None, **kwargs: Any) -> None:
        self.parsed_label_config = label_config

    def get_local_path(self, url: str, project_dir: Any = None) -> str:
        return url.removeprefix("local:")


class NewerBase:
    """The same of 2.0, which is in the repository."""

    def __init__(self, project_id: str | None = None, label_config: Any = None) -> None:
        self.parsed_label_config, self.kept = label_config, dict[str, str]()
        self.setup()  # type: ignore[attr-defined]
        assert self.kept == {"model_version": f"instructseg-{__version__}"}

    def set(self, key: str, value: str) -> None:
        self.kept[key] = value

    def get_local_path(self, url: str, project_dir: Any = None, task_id: Any = None, **more: Any) -> str:
        assert task_id == 1  # by which it finds files in a cloud
        return url.removeprefix("local:")


class SeesFiles(Recorded):
    def predict(self, image: Any, instructions: Any, **options: Any) -> Any:
        return super().predict(load_image(image), instructions, **options)


def imported(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with a predictor that answers the same always."""
    monkeypatch.delitem(sys.modules, "instructseg.interop.label_studio", raising=False)
    found = importlib.import_module("instructseg.interop.label_studio")
    monkeypatch.setattr(found, "load", lambda name, **options: SeesFiles())
    monkeypatch.setattr(found, "_predictors", [])
    return found


Answers = Callable[[str], dict[str, Any]]


@pytest.fixture(params=[PublishedBase, NewerBase])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    modules = {name: ModuleType(name) for name in ("label_studio_ml", "label_studio_ml.model")}
    modules["label_studio_ml.model"].LabelStudioMLBase = request.param  # type: ignore[attr-defined]
    for name, one in modules.items():
        monkeypatch.setitem(sys.modules, name, one)
    return imported(monkeypatch)


@pytest.fixture
def answers(module: Any, tmp_path: Path) -> Answers:
    """The prediction for a task of a project whose labels are of a kind."""
    save_image(tmp_path / "a.png", IMAGE)

    def ask(kind: str) -> dict[str, Any]:
        backend = module.InstructSegBackend(label_config=parsed(kind))
        tasks = [{"id": 1, "data": {"photo": f"local:{tmp_path / 'a.png'}"}}] * 2
        first, second = backend.predict(tasks, context=None, login="", password="")
        assert first == second and first["model_version"] == f"instructseg-{__version__}"
        return dict(first)

    return ask


def assert_polygons_are_the_mask(results: Any) -> None:
    assert {(one["from_name"], one["to_name"], one["type"]) for one in results} == {
        ("object", "image", "polygonlabels")
    }
    assert all(one["value"]["polygonlabels"] == ["dog"] for one in results)
    filled = np.zeros((20, 30), bool)
    for one in results:
        filled |= _inside(np.array(one["value"]["points"]) * (0.3, 0.2))
    (right,) = Recorded().predict(IMAGE, ["x"])
    np.testing.assert_array_equal(filled, right.mask)


def test_polygons_in_percent_are_the_mask(answers: Answers) -> None:
    assert_polygons_are_the_mask(answers("PolygonLabels")["result"])


def test_brush_strokes_are_decoded_by_label_studio(answers: Answers) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    (one,) = answers("BrushLabels")["result"]
    assert one["value"]["format"] == "rle" and one["value"]["brushlabels"] == ["dog"]
    decoded = brush.decode_rle(one["value"]["rle"]).reshape(20, 30, 4)[..., 3] > 0
    np.testing.assert_array_equal(decoded, Recorded().predict(IMAGE, ["x"])[0].mask)


def test_predictions_keep_the_schema_of_label_studio(answers: Answers) -> None:
    schema = pytest.importorskip("label_studio_sdk.label_interface.objects")
    for kind in ("PolygonLabels", "BrushLabels"):
        schema.PredictionValue(**answers(kind))


def test_brush_strokes_say_what_they_need(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "label_studio_sdk", None)
    monkeypatch.setitem(sys.modules, "label_studio_sdk.converter", None)
    with pytest.raises(ValueError, match="pip install label-studio-sdk"):
        answers("BrushLabels")


def test_a_project_without_regions_is_told(module: Any) -> None:
    config = {"c": {"type": "Choices", "inputs": [{"type": "Image"}], "to_name": ["i"]}}
    backend = module.InstructSegBackend(label_config=config)
    with pytest.raises(ValueError, match="add them"):
        backend.predict([])


@pytest.mark.skipif(not INSTALLED, reason="label-studio-ml is not here: pip install label-studio-ml rq redis")
def test_the_server_of_the_installed_package_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    api = importlib.import_module("label_studio_ml.api")
    backend = imported(monkeypatch).InstructSegBackend
    newer = importlib.util.find_spec("label_studio_ml.response") is not None
    client = api.init_app(backend, **({} if newer else {"model_dir": str(tmp_path)})).test_client()
    save_image(tmp_path / "a.png", IMAGE)
    monkeypatch.setattr(
        backend, "get_local_path", NewerBase.get_local_path if newer else PublishedBase.get_local_path
    )
    config = CONFIG.format(kind="PolygonLabels")
    told = {"project": "1.1", "schema": config, "hostname": "", "access_token": ""}
    version = client.post("/setup", json=told).get_json()["model_version"]
    assert version == (f"instructseg-{__version__}" if newer else "INITIAL")
    task = {"id": 1, "data": {"photo": f"local:{tmp_path / 'a.png'}"}}
    asked = {"tasks": [task], "project": "1.1", "label_config": config, "params": {"login": "", "context": {}}}
    reply = client.post("/predict", json=asked)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    (found,) = reply.get_json()["results"]
    assert found["model_version"] == f"instructseg-{__version__}"
    assert_polygons_are_the_mask(found["result"])
