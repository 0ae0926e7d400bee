"""The official checkpoint at small size, and the full one's names."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "golden" / "fixture_a"


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder as the official code saves it."""
    folder = tmp_path / "official"
    folder.mkdir()
    shutil.copyfile(GOLDEN / "weights.safetensors", folder / "model.safetensors")
    shutil.copyfile(GOLDEN / "hf_config.json", folder / "config.json")
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def official_tensors() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "weights.safetensors")


@pytest.fixture(scope="session")
def full_size() -> dict[str, Any]:
    """``keys`` (name to shape), ``total`` (values), ``text`` and ``vision`` of the published checkpoint."""
    return json.loads(gzip.decompress((DATA / "official_keys.json.gz").read_bytes()))
