"""How many reference frames a drawn clip has changes what is shown, not what is said."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from instructseg.structures import Task
from recipes.nano.synthetic import SyntheticDataset

KINDS = ("attribute", "motion", "leaving", "speed")


def clips(references: int, **options: object) -> SyntheticDataset:
    return SyntheticDataset(8, 3, tasks=(Task.RVOS,), kinds=KINDS, references=references, **options)


@pytest.mark.parametrize("any_key", [False, True])
def test_more_references_show_the_same_stretch_of_time(any_key: bool) -> None:
    usual = SyntheticDataset(8, 3, tasks=(Task.RVOS,), kinds=KINDS, any_key=any_key)
    dense = pickle.loads(pickle.dumps(clips(8, any_key=any_key)))
    for index in range(8):
        few, many = usual.scene(index), dense.scene(index)
        assert many.expressions == few.expressions
        assert np.array_equal(many.scene.frames[::2], few.scene.frames)
        assert np.array_equal(many.scene.ids[::2], few.scene.ids)
        assert (many.key, len(many.references), len(few.references)) == (2 * few.key, 8, 4)
        for obj in many.scene.objects:
            assert np.allclose(np.diff(obj.centres, axis=0), (obj.centres[-1] - obj.centres[0]) / 8)
        one, other = few.samples()[0], many.samples()[0]
        assert np.array_equal(one.key_frame, other.key_frame) and np.array_equal(one.masks, other.masks)


def test_without_references_the_truth_is_still_whole() -> None:
    for usual, bare in zip(map(clips(4).scene, range(8)), map(clips(0).scene, range(8)), strict=True):
        assert bare.references == () and usual.references == tuple(t for t in range(5) if t != usual.key)
        assert bare.key == usual.key and np.array_equal(bare.scene.frames, usual.scene.frames)
        assert all(sample.reference_frames == () for sample in bare.samples())


def test_an_image_has_none() -> None:
    usual, dense = SyntheticDataset(2), SyntheticDataset(2, references=8)
    for one, other in zip(usual[1], dense[1], strict=True):
        assert one.instruction == other.instruction and other.reference_frames == ()
        assert np.array_equal(one.key_frame, other.key_frame)


@pytest.mark.parametrize("references", [-4, 3, 6])
def test_other_numbers_are_refused(references: int) -> None:
    with pytest.raises(ValueError, match="0 or a multiple of 4"):
        clips(references)
