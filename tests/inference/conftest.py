"""A nano model with random weights, its processor, and pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg import hub, pretrained
from instructseg.model import InstructSeg, preset
from instructseg.model.presets import PRESETS
from instructseg.pretrained import _load_model
from instructseg.processing import InstructSegProcessor
from instructseg.processing.conversation import PromptStyle, conversation_text
from instructseg.processing.processor_config import processor_config
from instructseg.structures import Task
from recipes.nano.language.word_tokenizer import build_tokenizer

CORPUS = [conversation_text(task, style=PromptStyle(system="")) for task in Task] + [
    "the red circle moving left",
    "big blue square",
]

NANO = PRESETS["nano"]
SHALLOW = {
    **{part: {**NANO[part], "num_hidden_layers": 2} for part in ("vision_config", "text_config")},
    "backbone_config": {**NANO["backbone_config"], "depths": [1, 1, 1, 1], "image_size": 64},
    "image_size": 64, "ovp_depth": 1, "vmtf_depth": 1, "decoder_layers": 2,
}  # fmt: skip
"""Every part of nano at its widths with half of its layers and of its pixels: run in half of the time."""


def make_model(**overrides: object) -> tuple[InstructSeg, InstructSegProcessor]:
    """A model whose answers differ between frames and between instructions."""
    torch.manual_seed(0)
    model = InstructSeg(preset("nano", **{**SHALLOW, **overrides})).eval()
    with torch.no_grad():
        model.mask_decoder.query_proj.weight.normal_(std=0.3)  # begins at zero: the text would have no say
    return model, InstructSegProcessor(build_tokenizer(CORPUS, 400), processor_config(model.config, system=""))


@pytest.fixture(scope="session")
def nano() -> tuple[InstructSeg, InstructSegProcessor]:
    return make_model()


@pytest.fixture(scope="session")
def checkpoint(
    nano: tuple[InstructSeg, InstructSegProcessor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The model in a folder, as ``--model`` takes it."""
    folder = tmp_path_factory.mktemp("checkpoint")
    for part in nano:
        part.save_pretrained(folder)
    return folder


@lru_cache(4)
def _read(files: object, name: Path, dtype: torch.dtype, quantize: str | None) -> InstructSeg:
    return _load_model(name, dtype, quantize)


def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads a copy of a model that was read before from the same files; the reading has tests of its own."""

    def load(name: Path, dtype: torch.dtype, quantize: str | None) -> InstructSeg:
        path = hub.model_path(name)
        files = [(file, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(path.rglob("*"))]
        return deepcopy(_read(tuple(files), name, dtype, quantize))

    monkeypatch.setattr(pretrained, "_load_model", load)


@pytest.fixture(scope="session")
def frames() -> Callable[[int], list[np.ndarray]]:
    """Different frames of 40 x 56 pixels."""
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (40, 56, 3), np.uint8) for _ in range(17)]
    return lambda count: clip[:count]
