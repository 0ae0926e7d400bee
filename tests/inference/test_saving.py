"""Every documented way of saving gives a folder for every way of loading."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructseg import from_pretrained
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor

Pair = tuple[InstructSeg, InstructSegProcessor]
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def answer(folder: Path) -> torch.Tensor:
    """What the model in a folder says of an image."""
    (found,) = ImagePredictor.from_pretrained(folder, "cpu").predict(IMAGE, "the red circle", soft=True)
    assert found.probability is not None
    return torch.from_numpy(found.probability)


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("kind", [ImagePredictor, VideoPredictor])
def test_a_predictor_is_saved_whole(kind: type, quantize: str | None, checkpoint: Path, tmp_path: Path) -> None:
    predictor = kind.from_pretrained(checkpoint, "cpu", quantize=quantize)
    predictor.save_pretrained(tmp_path / "new")
    again = kind.from_pretrained(tmp_path / "new", "cpu")
    assert again.processor.config == predictor.processor.config
    for name, value in predictor.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


@pytest.mark.parametrize("loader", [from_pretrained, lambda folder: load_pretrained(folder, "cpu")[0]])
def test_a_loaded_model_takes_its_processor_along(
    loader: Callable[[Path], InstructSeg], checkpoint: Path, tmp_path: Path
) -> None:
    loader(checkpoint).save_pretrained(tmp_path / "new")
    assert torch.equal(answer(tmp_path / "new"), answer(checkpoint))


def test_uploads_are_complete(nano: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded = {}

    def push(model: InstructSeg, repository: str, **options: object) -> str:
        uploaded.update(repository=repository, processor=model.processor, **options)
        return "done"

    monkeypatch.setattr(InstructSeg, "push_to_hub", push)
    predictor = ImagePredictor(*nano)
    assert predictor.push_to_hub("me/mine", private=True) == "done"
    assert uploaded == {"repository": "me/mine", "processor": predictor.processor, "private": True}


def test_a_model_without_processor_reports_the_remedy(nano: Pair, tmp_path: Path) -> None:
    model = InstructSeg(nano[0].config)
    model.save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).processor is None
    with pytest.raises(FileNotFoundError, match=r"save_pretrained of its predictor or processor"):
        load_pretrained(tmp_path, "cpu")


def test_shards_over_one_file_and_back(nano: Pair, tmp_path: Path) -> None:
    predictor = ImagePredictor(*nano)
    for size in ("20GB", "3MB", "20GB", "2MB"):
        predictor.save_pretrained(tmp_path, max_shard_size=size)
        assert (tmp_path / "model.safetensors").exists() == (size == "20GB")
        assert (tmp_path / "model.safetensors.index.json").exists() == (size != "20GB")
        model, _ = load_pretrained(tmp_path, "cpu")
        for name, value in nano[0].state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name


def test_saved_files_are_readable_by_others(nano: Pair, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        ImagePredictor(*nano).save_pretrained(tmp_path, max_shard_size="5MB")
    finally:
        os.umask(before)
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o777 != 0o644} == set()


def test_the_old_spelling_of_quantize_is_accepted(checkpoint: Path) -> None:
    old: Any = {"quantise": "int8"}
    with pytest.warns(DeprecationWarning, match="quantise= is now quantize="):
        assert ImagePredictor.from_pretrained(checkpoint, "cpu", **old).model.config.quantize == "int8"
