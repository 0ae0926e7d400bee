"""The backend on a base class of the published interface; results are checked by Label Studio's own schema."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from instructseg.media import load_image, save_image
from tests.interop.test_annotate import IMAGE, Recorded, _inside

CONFIG = """<View><Image name="image" value="$photo"/><{kind} name="object" toName="image">
<Label value="dog" predicted_values="the dog on the left"/><Label value="nothing"/></{kind}></View>"""


class Base:
    """What the backend uses of ``LabelStudioMLBase``."""

    def __init__(self, parsed: dict[str, Any]) -> None:
        self.parsed_label_config, self.kept = parsed, dict[str, str]()
        self.setup()  # type: ignore[attr-defined]

    def set(self, key: str, value: str) -> None:
        self.kept[key] = value

    @property
    def model_version(self) -> str:
        return self.kept["model_version"]

    def get_local_path(self, url: str, task_id: Any = None) -> str:
        return url.removeprefix("local:")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    names = ("label_studio_ml", "label_studio_ml.model", "label_studio_ml.response")
    modules = {name: ModuleType(name) for name in names}
    modules[names[1]].LabelStudioMLBase = Base  # type: ignore[attr-defined]
    modules[names[2]].ModelResponse = SimpleNamespace  # type: ignore[attr-defined]
    for name, one in modules.items():
        monkeypatch.setitem(sys.modules, name, one)
    monkeypatch.delitem(sys.modules, "instructseg.interop.label_studio", raising=False)
    found = importlib.import_module("instructseg.interop.label_studio")
    monkeypatch.setattr(found, "load", lambda name, **options: SeesFiles())
    monkeypatch.setattr(found, "_predictors", [])
    return found


class SeesFiles(Recorded):
    def predict(self, image: Any, instructions: Any, **options: Any) -> Any:
        return super().predict(load_image(image), instructions, **options)


def answers(module: Any, kind: str, tmp_path: Path) -> Any:
    tool = pytest.importorskip("label_studio_sdk._extensions.label_studio_tools.core.label_config")
    save_image(tmp_path / "a.png", IMAGE)
    backend = module.InstructSegBackend(tool.parse_config(CONFIG.format(kind=kind)))
    tasks = [{"id": 1, "data": {"photo": f"local:{tmp_path / 'a.png'}"}}] * 2
    response = backend.predict(tasks)
    assert len(response.predictions) == 2 and response.predictions[0]["model_version"].startswith(
        "instructseg-"
    )
    schema = pytest.importorskip("label_studio_sdk.label_interface.objects")
    for prediction in response.predictions:
        schema.PredictionValue(**prediction)
    return response.predictions[0]


def test_polygons_in_percent_are_the_mask(module: Any, tmp_path: Path) -> None:
    results = answers(module, "PolygonLabels", tmp_path)["result"]
    assert {(one["from_name"], one["to_name"], one["type"]) for one in results} == {
        ("object", "image", "polygonlabels")
    }
    assert all(one["value"]["polygonlabels"] == ["dog"] for one in results)
    filled = np.zeros((20, 30), bool)
    for one in results:
        filled |= _inside(np.array(one["value"]["points"]) * (0.3, 0.2))
    (right,) = Recorded().predict(IMAGE, ["x"])
    np.testing.assert_array_equal(filled, right.mask)


def test_brush_strokes_are_decoded_by_label_studio(module: Any, tmp_path: Path) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    (one,) = answers(module, "BrushLabels", tmp_path)["result"]
    assert one["value"]["format"] == "rle" and one["value"]["brushlabels"] == ["dog"]
    decoded = brush.decode_rle(one["value"]["rle"]).reshape(20, 30, 4)[..., 3] > 0
    np.testing.assert_array_equal(decoded, Recorded().predict(IMAGE, ["x"])[0].mask)


def test_a_project_without_regions_is_told(module: Any) -> None:
    backend = module.InstructSegBackend(
        {"c": {"type": "Choices", "inputs": [{"type": "Image"}], "to_name": ["i"]}}
    )
    with pytest.raises(ValueError, match="add them"):
        backend.predict([])
