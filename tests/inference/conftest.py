"""A nano model with random weights, its processor, and pictures to look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg.model import InstructSeg, preset
from instructseg.processing import InstructSegProcessor
from instructseg.processing.conversation import PromptStyle, conversation_text
from instructseg.processing.processor_config import processor_config
from instructseg.structures import Task
from recipes.nano.language.word_tokenizer import build_tokenizer

CORPUS = [conversation_text(task, style=PromptStyle(system="")) for task in Task] + [
    "the red circle moving left",
    "big blue square",
]


def make_model(**overrides: object) -> tuple[InstructSeg, InstructSegProcessor]:
    """A model whose answers differ between frames and between instructions."""
    torch.manual_seed(0)
    model = InstructSeg(preset("nano", **overrides)).eval()
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


@pytest.fixture(scope="session")
def frames() -> Callable[[int], list[np.ndarray]]:
    """Different frames of 40 x 56 pixels."""
    rng = np.random.default_rng(0)
    clip = [rng.integers(0, 256, (40, 56, 3), np.uint8) for _ in range(17)]
    return lambda count: clip[:count]
