from __future__ import annotations

import pickle

import numpy as np
import pytest

from instructseg.structures import Task
from recipes.nano.language.meaning import MIN_AREA
from recipes.nano.scenes.objects import HELD_OUT
from recipes.nano.scenes.scenes import SceneConfig, draw_scene
from recipes.nano.synthetic import SyntheticDataset


def same(one, other):
    return (
        one.instruction == other.instruction
        and one.meta == other.meta
        and np.array_equal(one.key_frame, other.key_frame)
        and np.array_equal(one.masks, other.masks)
        and np.array_equal(one.distractors, other.distractors)
        and all(map(np.array_equal, one.reference_frames, other.reference_frames))
    )


def test_an_item_is_a_function_of_seed_split_and_index():
    tasks = (Task.RES, Task.RVOS)
    forwards = [SyntheticDataset(6, seed=1, tasks=tasks)[i] for i in range(6)]
    dataset = pickle.loads(pickle.dumps(SyntheticDataset(1000, seed=1, tasks=tasks)))
    for i in reversed(range(6)):
        assert all(map(same, forwards[i], dataset[i]))
    for other in (
        SyntheticDataset(6, seed=2, tasks=tasks),
        SyntheticDataset(6, seed=1, tasks=tasks, split="val"),
    ):
        assert not any(same(forwards[i][0], other[i][0]) for i in range(6))


@pytest.mark.parametrize("task", [Task.RES, Task.RVOS])
def test_samples_of_an_item(task):
    dataset = SyntheticDataset(12, seed=5, tasks=(task,), expressions_per_scene=4)
    assert len(dataset) == 12
    for samples in dataset:
        assert len(samples) == len({s.instruction for s in samples}) == 4
        first = samples[0]
        for sample in samples:
            assert sample.task is task
            assert sample.key_frame is first.key_frame
            assert len(sample.reference_frames) == (4 if task is Task.RVOS else 0)
            assert all(a is b for a, b in zip(sample.reference_frames, first.reference_frames, strict=True))
            height, width = sample.key_frame.shape[:2]
            assert sample.masks.shape == (1, height, width)
            assert sample.masks.dtype == sample.distractors.dtype == np.uint8
            assert sample.masks.sum() >= 12
            every = np.concatenate([sample.masks, sample.distractors])
            assert every.sum(axis=0).max() == 1
            assert all(mask.sum() >= 12 for mask in every)
            assert not sample.meta["held_out"]
            for part in ("colour", "shape", "size"):
                assert part not in sample.meta["form"].split() or word_of(sample, part) in sample.instruction


def word_of(sample, part):
    word = sample.meta[part]
    return "large" if word == "big" and "large" in sample.instruction else word


def test_the_same_instruction_never_has_two_masks_in_a_scene():
    for samples in SyntheticDataset(20, expressions_per_scene=12):
        by_look = {}
        for sample in samples:
            look = tuple(sample.meta[name] for name in ("form", "colour", "shape", "size"))
            if sample.meta["form"] == "size colour shape":
                assert np.array_equal(by_look.setdefault(look, sample.masks), sample.masks)


def test_held_out_pairs_are_only_seen_when_asked_for():
    config = SceneConfig(held_out=True)
    for samples in SyntheticDataset(20, config=config, split="test"):
        assert all((s.meta["colour"], s.meta["shape"]) in HELD_OUT and s.meta["held_out"] for s in samples)


def test_time_runs_forwards_for_instructions_speak_of_motion():
    dataset = SyntheticDataset(12, tasks=(Task.RVOS,))
    for i, samples in enumerate(dataset):
        rng = np.random.default_rng([0, 0, i])
        rng.integers(1)  # the task
        frames = draw_scene(rng, SceneConfig(frames=5)).frames
        np.testing.assert_array_equal(samples[0].key_frame, frames[2])
        np.testing.assert_array_equal(samples[0].reference_frames, frames[[0, 1, 3, 4]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length and expressions_per_scene must be at least 1, got 0 and 6"),
        ({"expressions_per_scene": 0}, "must be at least 1, got 3 and 0"),
        ({"split": "dev"}, "unknown split 'dev': there are train, val, test"),
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"tasks": (Task.VQA,)}, "tasks must be some of res and rvos, got"),
        ({"tasks": ()}, "got none"),
        ({"kinds": ("riddle",)}, "unknown kind of expression 'riddle'"),
        ({"kinds": ()}, "unknown kind of expression none"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticDataset(**{"length": 3, **options})


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match=f"scene {index} of 3"):
        SyntheticDataset(3)[index]


def test_scenes_without_instructions_are_reported():
    crowd = SceneConfig(
        objects=(40, 40), radius=(0.02, 0.05), colours=("red",), shapes=("circle",), textures={"plain": 1.0}
    )
    with pytest.raises(ValueError, match="nothing can be said of 100 scenes"):
        SyntheticDataset(1, config=crowd)[0]


def test_any_frame_that_shows_the_target_may_be_the_key_frame() -> None:
    small = SceneConfig(height=(64, 80), width=(64, 80), backgrounds={"white": 1})
    arguments = {"config": small, "tasks": (Task.RVOS,), "kinds": ("motion", "leaving", "attribute")}
    usual, free = SyntheticDataset(40, 5, **arguments), SyntheticDataset(40, 5, **arguments, any_key=True)
    keys = set()
    for index in range(40):
        one, other = usual.scene(index), free.scene(index)
        assert one.key == 2 and one.expressions == other.expressions
        assert np.array_equal(one.scene.frames, other.scene.frames)
        assert sorted([other.key, *other.references]) == list(range(5)) == sorted([one.key, *one.references])
        assert list(other.references) == sorted(other.references)
        targets = {i for said in other.expressions for i in said.targets}
        assert all(other.scene.area(i, other.key) >= MIN_AREA for i in targets)
        keys.add(other.key)
    assert keys == set(range(5))
