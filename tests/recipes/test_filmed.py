"""Filmed sequences come as they lie on the disk, and incomplete ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from instructseg.files import write_json_atomic
from instructseg.media import save_image
from recipes.filmed import read_filmed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One sequence of three frames; frame and mask ``t`` are bright in column ``t``."""
    for t in range(3):
        shown = np.zeros((4, 6, 3), np.uint8)
        shown[:, t] = 255
        for kind in ("frames", "masks"):
            (tmp_path / "dog" / kind).mkdir(parents=True, exist_ok=True)
            save_image(tmp_path / "dog" / kind / f"{t:05d}.png", shown if kind == "frames" else shown[..., 0])
    write_json_atomic(tmp_path / "expressions.json", {"dog": ["the dog", "the brown one"]})
    return tmp_path


@pytest.mark.parametrize("most", [None, 2])
def test_frames_and_masks_in_order(folder: Path, most: int | None) -> None:
    (found,) = read_filmed(folder, most)
    count = most or 3
    assert (found.name, found.texts) == ("dog", ("the dog", "the brown one"))
    assert found.frames.shape == (count, 4, 6, 3) and found.masks.shape == (count, 4, 6)
    assert np.array_equal(found.frames[..., 0] > 0, found.masks)
    assert found.masks[:, 0].argmax(1).tolist() == list(range(count))


def test_a_missing_mask_is_an_error(folder: Path) -> None:
    (folder / "dog" / "masks" / "00001.png").unlink()
    with pytest.raises(ValueError, match="3 frames and 2 masks"):
        list(read_filmed(folder))
