"""``instructseg.interop.detectron2`` on a stand-in and, where it can be imported, on the real Detectron2."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from recipes.nano.layouts.image_copies import write_image_layouts
from recipes.nano.layouts.video_copies import write_video_layouts
from tests.convert.conftest import official, official_tensors
from tests.inference.conftest import checkpoint, make_model, nano
from tests.interop import stand_in

__all__ = ["checkpoint", "nano", "official", "official_tensors"]

OURS = "instructseg.interop.detectron2"


def import_with(modules: dict[str, Any]) -> ModuleType:
    """Our module, as if ``modules`` were all that is installed of Detectron2; leaves no trace."""

    def take() -> dict[str, Any]:
        names = [name for name in sys.modules if name == OURS or name.split(".")[0] == "detectron2"]
        return {name: sys.modules.pop(name) for name in names}

    before = take()
    sys.modules.update(modules)
    try:
        return importlib.import_module(OURS)
    finally:
        take()
        sys.modules.update(before)


def real() -> SimpleNamespace:
    pytest.importorskip("detectron2")
    return SimpleNamespace(
        ours=importlib.import_module(OURS),
        **{
            name: importlib.import_module(f"detectron2.{name}")
            for name in ("config", "data", "evaluation", "modeling", "structures")
        },
    )


@pytest.fixture(scope="session", params=["stand-in", pytest.param("detectron2", marks=pytest.mark.detectron2)])
def d2(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Our module as ``ours``, and the parts of Detectron2 that it was imported with."""
    if request.param == "detectron2":
        return real()
    modules = stand_in.modules()
    parts = {name.partition(".")[2]: module for name, module in modules.items() if "." in name}
    return SimpleNamespace(ours=import_with(modules), **parts)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small copies of every data set."""
    folder = tmp_path_factory.mktemp("datasets")
    write_image_layouts(folder, pictures=2)
    write_video_layouts(folder)
    return folder


@pytest.fixture
def registered(d2: SimpleNamespace, root: Path) -> Iterator[list[str]]:
    """The names of all that is registered; nothing is left behind."""
    names = d2.ours.register_all(root)
    yield names
    for name in names:
        d2.data.DatasetCatalog.remove(name)
        d2.data.MetadataCatalog.remove(name)


@pytest.fixture
def arch(d2: SimpleNamespace) -> Any:
    """A nano model with random weights, in evaluation mode."""
    model, processor = make_model()
    return d2.ours.InstructSegArch(model=model, processor=processor).eval()
