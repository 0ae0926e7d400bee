from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from instructseg.processing import InstructSegProcessor
from instructseg.structures import Role, Task
from recipes.mini.photographs import read_photographs
from recipes.mini.samples import InstructedSource
from recipes.mini.whole import InstructedViews
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


def made(root: Path, processor: InstructSegProcessor, moving: float) -> InstructedViews:
    """A batch of two views, with or without reference frames."""
    source = InstructedSource(
        read_photographs(root, "train"), processor, {"yard": 1.0, "thing": 1.0}, 2, 3, seed=0, moving=moving
    )
    batch, targets = source.batch(3)
    assert not targets
    return batch


def test_a_batch_holds_views_rows_and_what_answers(root: Path) -> None:
    _, processor = small()
    batch = made(root, processor, moving=0.0)
    assert batch.clips.shape[:2] == (2, 1)
    assert batch.answers.shape == (len(batch), batch.views.masks.shape[1])
    for row, kind in enumerate(batch.kinds):
        answered = batch.answers[row].nonzero().flatten()
        assert (len(answered) == 0) == (kind == "absent")
        assert (answered < batch.views.counts[batch.image_index[row]]).all()
    # what a cell says of a region is the share of its pixels, up to the padding of the masks
    masks, cells = batch.views.masks.float(), batch.cells
    there = masks.flatten(2).any(-1)
    assert torch.equal(there, cells.amax(-1) > 0)
    inputs = batch.inputs()
    assert inputs.seg_pixels is not None
    frame = inputs.seg_pixels * 128 + 127
    assert (frame - batch.views.seg).abs().max() < 1e-3


def test_moving_views_have_references_and_their_own_wording(root: Path) -> None:
    _, processor = small()
    batch = made(root, processor, moving=1.0)
    count = batch.clips.shape[1] - 1
    assert 1 <= count <= 4
    assert (batch.inputs().num_references == count).all()
    temporal = (batch.roles == Role.TEMPORAL).sum(1)
    assert (temporal == count * processor.config.num_temporal_queries).all()
    assert (batch.clips[:, 0] != batch.clips[:, 1]).any()


def test_samples_and_names_are_those_of_the_batch(root: Path) -> None:
    _, processor = small()
    source = InstructedSource(
        read_photographs(root, "train"), processor, {"yard": 1.0, "thing": 1.0}, 3, 3, seed=0
    )
    for index in range(4):
        batch, _ = source.batch(index)
        samples = source.samples(index)
        assert [sample.meta["kind"] for sample in samples] == list(batch.kinds)
        task, references = samples[0].task, batch.clips.shape[1] - 1
        task = Task.RVOS if references else task
        written = processor.encode_text([sample.instruction for sample in samples], task, references)
        assert torch.equal(written[0], batch.input_ids)
