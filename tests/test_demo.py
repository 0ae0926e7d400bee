"""The demo scripts run as they are."""

from __future__ import annotations

import json
import runpy
import sys
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import instructseg
from instructseg import DEMO_IMAGE, DEMO_VIDEO, hub
from instructseg.media import open_video
from tests.inference.conftest import checkpoint, nano
from tests.page_inputs import FRAMES, write_short

__all__ = ["checkpoint", "nano"]
BUNDLED = hub.DEFAULT_MODEL
DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(autouse=True)
def place(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights instead of the bundled ones, and an empty working directory."""
    monkeypatch.setattr(hub, "DEFAULT_MODEL", checkpoint)
    monkeypatch.chdir(tmp_path)


def script_module(script: str) -> ModuleType:
    spec = util.spec_from_file_location(f"demo_{script}", DEMO / f"{script}.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: str, *words: str) -> None:
    module = script_module(script)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"{script}.py", *words])
        module.main()


def test_video(capsys: pytest.CaptureFixture[str]) -> None:
    run("video")
    assert len(open_video("out/dog_overlay.mp4")) == len(open_video(DEMO_VIDEO))
    assert "the dog: score" in capsys.readouterr().out
    assert {path.name for path in Path("out/dog_masks").iterdir()} == {"1-the-dog", "times.csv"}


def test_video_of_several_objects(capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (48, 40), "red").save("0.png")
    run("video", "--input", "0.png", "--prompt", "all the circles", "--threshold", "0")
    assert "all the circles: score" in capsys.readouterr().out


def test_image_with_prompts() -> None:
    run("image", "--prompt", "the green triangle", "--prompt", "the star", "--output", "there")
    names = sorted(str(path.relative_to("there")) for path in Path("there").rglob("*.png"))
    assert names == [
        "truck_masks/1-the-green-triangle.png",
        "truck_masks/2-the-star.png",
        "truck_overlay.png",
    ]
    run("image", "--input", str(DEMO_IMAGE), "--prompt", "the star", "--output", "again")
    assert Path("again/truck_overlay.png").is_file()
    with pytest.raises(SystemExit) as caught:
        run("image", "--output", "there")
    assert caught.value.code == 2


@pytest.mark.parametrize("script", ["image", "video"])
def test_an_input_needs_a_prompt(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(script, "--input", "x.png")
    assert caught.value.code == 2 and "--input needs a --prompt" in capsys.readouterr().err


def test_the_web_page_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as caught, monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["app.py", "--help"])
        runpy.run_path(str(DEMO / "app.py"), run_name="__main__")
    assert caught.value.code == 0


def run_notebook(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the code of a notebook with the bundled weights and a short video; returns its names."""
    write_short(Path("short.mp4"))
    monkeypatch.setattr(hub, "DEFAULT_MODEL", BUNDLED)
    monkeypatch.setattr(instructseg, "DEMO_VIDEO", Path("short.mp4"))
    notebook = json.loads((DEMO / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = notebook["cells"]
    assert notebook["nbformat"] == 4 and len({cell["id"] for cell in cells}) == len(cells)
    assert cells[0]["cell_type"] == "markdown" and "".join(cells[0]["source"]).startswith("# ")
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    return names


def test_every_notebook_is_run() -> None:
    assert {file.stem for file in DEMO.glob("*.ipynb")} == {"tour", "video", "formats"}


def test_the_tour_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_notebook("tour", monkeypatch)
    assert [one.found for one in names["found"]] == [True, True, False] and len(names["frames"]) == FRAMES
    assert sorted(path.name for path in Path("tour").iterdir() if not path.name.startswith(".")) == [
        "result.json",
        "result_overlay.mp4",
    ]


def test_the_notebook_of_videos_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_notebook("video", monkeypatch)
    assert len(names["frames"]) == len(names["carried"]) == len(names["streamed"]) == FRAMES
    assert all(result.predictions[0].found for result in names["always"])
    asked = [{one.instruction for one in result.predictions} for result in names["streamed"]]
    assert asked[:2] == [{"the dog"}] * 2 and asked[2:] == [{"the woman"}] * 2
    assert {path.name for path in Path("videos").iterdir()} >= {"dog_overlay.mp4", "dog.csv"}


def test_the_notebook_of_formats_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    names = run_notebook("formats", monkeypatch)
    assert all((mask == one.mask).all() for mask, one in zip(names["masks"], names["found"], strict=True))
    assert set(np.unique(names["palette"])) == {0, 1, 2} and names["outline"].shape[1] == 2
    assert sum(one.mask.astype(int) for one in names["scene"]).max() == 1
    assert Path("annotated/scene_panoptic.json").is_file()
