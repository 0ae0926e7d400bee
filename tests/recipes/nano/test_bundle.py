"""The bundled folder is made from the export of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instructseg.files import read_json
from instructseg.hub import DRAWN_MODEL
from recipes.nano import bundle


def test_a_folder_like_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "met_words", lambda: ("circle", "red"))
    bundle.bundle(DRAWN_MODEL, tmp_path, before=0.5)
    made, bundled = (read_json(folder / "processor_config.json") for folder in (tmp_path, DRAWN_MODEL))
    assert made.pop("words") == ["circle", "red"] and len(bundled.pop("words")) > 400
    assert {name: made[name] for name in bundled} == bundled
    assert read_json(tmp_path / "tokenizer.json") == read_json(DRAWN_MODEL / "tokenizer.json")
    before, after = (load_file(folder / "model.safetensors") for folder in (DRAWN_MODEL, tmp_path))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
