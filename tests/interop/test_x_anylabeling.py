"""The model in a server of our own with the published interface, and its answers by the published schema."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from pydantic import BaseModel as Schema
from pydantic import Field

from tests.interop.test_annotate import IMAGE, Recorded


class Shape(Schema):
    """What the server accepts."""

    label: str
    shape_type: Literal["polygon", "rectangle", "rotation", "point", "line", "circle", "linestrip"]
    points: list[list[float]]
    score: float | None = Field(None, ge=0.0, le=1.0)
    group_id: int | None = Field(None, gt=0)


class Base:
    """The server's model."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.model_id, self.display_name = config, config["model_id"], config["display_name"]
        self.params = config.get("params", {})


REGISTERED: dict[str, Any] = {}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    def register(*names: str) -> Any:
        return lambda model: REGISTERED.update(dict.fromkeys(names, model)) or model

    modules = {name: ModuleType(name) for name in ("app", "app.core", "app.core.registry", "app.models")}
    modules["app.core.registry"].register_model = register  # type: ignore[attr-defined]
    modules["app.models"].BaseModel = Base  # type: ignore[attr-defined]
    for name, one in modules.items():
        monkeypatch.setitem(sys.modules, name, one)
    monkeypatch.delitem(sys.modules, "instructseg.interop.x_anylabeling", raising=False)
    return importlib.import_module("instructseg.interop.x_anylabeling")


def test_the_server_finds_loads_and_asks_it(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(module.write_configuration(tmp_path).read_text())
    assert (tmp_path / "instructseg.yaml").is_file() and REGISTERED[
        config["model_id"]
    ] is module.InstructSegLabeler
    widgets = [widget["name"] for widget in config["widgets"]]
    assert "edit_text" in widgets and "button_send" in widgets  # the server asks for both
    system, seen = Recorded(), []
    monkeypatch.setattr(module, "load", lambda name, **options: seen.append((name, options)) or system)
    model = module.InstructSegLabeler(config)
    model.load()
    assert seen == [(None, {})]
    blue = IMAGE.copy()
    blue[..., 0] = 255  # BGR
    images: list[np.ndarray] = []
    own = system.predict
    monkeypatch.setattr(
        system,
        "predict",
        lambda image, *given, **options: images.append(image) or own(image, *given, **options),
    )
    answer = model.predict(blue, {"text_prompt": "dog=the dog on the left; nothing", "conf_threshold": 0.3})
    shapes = [Shape(**shape) for shape in answer["shapes"]]
    assert answer["description"] == "" and [shape.label for shape in shapes] == ["dog", "dog"]
    assert all(shape.points[0] == shape.points[-1] and len(shape.points) >= 4 for shape in shapes)
    assert system.asked[-1][1] == {"threshold": 0.3} and images[0][0, 0].tolist() == [0, 0, 255]
    model.unload()


def test_no_text_is_a_mistake_in_a_sentence(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", lambda name, **options: Recorded())
    model = module.InstructSegLabeler({"model_id": "x", "display_name": "x", "params": {"device": "cpu"}})
    model.load()
    with pytest.raises(ValueError, match="no label"):
        model.predict(IMAGE, {})
