from __future__ import annotations

from pathlib import Path

import numpy as np

from recipes.mini.photographs import read_photographs
from recipes.mini.samples import InstructedSource
from tests.recipes.mini.test_names import small


def test_rows_have_the_masks_of_their_answers_and_the_others_beside(root: Path) -> None:
    _, processor = small()
    source = InstructedSource(
        read_photographs(root, "train"), processor, {"yard": 1.0, "thing": 1.0}, views=2, asked=3, seed=0
    )
    kinds = set()
    for index in range(12):
        samples = source.samples(index)
        assert 2 <= len(samples) <= 6
        assert [sample.name for sample in samples] == source.names(index)
        for sample in samples:
            kinds.add(sample.meta["kind"])
            assert sample.masks is not None
            assert sample.distractors is not None
            assert sample.masks.shape[1:] == sample.key_frame.shape[:2] == sample.distractors.shape[1:]
            assert (len(sample.masks) == 0) == (sample.meta["kind"] == "absent")
            together = np.concatenate([sample.masks, sample.distractors])
            assert (together.sum(0) <= 1).all()  # nothing overlaps on these photographs
    assert {"name", "side", "all", "absent", "main"} <= kinds
    inputs, targets = source.batch(3)
    assert len(inputs) == len(targets)
    assert inputs.seg_pixels is not None
    assert len(inputs.seg_pixels) == 2
