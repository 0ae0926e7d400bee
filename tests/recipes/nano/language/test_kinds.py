from __future__ import annotations

import re

import numpy as np
import pytest

from instructseg.structures import Task
from recipes.nano.language.expressions import CLIP_KINDS, IMAGE_KINDS, KINDS, expressions, meanings
from recipes.nano.language.unknown import HUES, THINGS, UNSEEN_HUES, UNSEEN_THINGS
from recipes.nano.language.vocabulary import COLOUR_KNOWLEDGE, SHAPE_KNOWLEDGE
from recipes.nano.scenes.objects import COLOURS, HELD_OUT, SHAPES, SIZES, TEXTURES, SceneObject
from recipes.nano.scenes.scenes import SceneConfig, draw_scene, render
from recipes.nano.synthetic import SyntheticDataset


def obj(words, x, y=48.0, radius=10.0, step=(0.0, 0.0), length=1, motion="still"):
    size, texture, colour, shape = words.split()
    centres = np.array(
        [(x + step[0] * (t - length // 2), y + step[1] * (t - length // 2)) for t in range(length)]
    )
    return SceneObject(colour, shape, size, texture, motion, COLOURS[colour], radius, 0.0, centres)


def scene_of(*objects, size=(96, 160)):
    return render(np.full((*size, 3), 128, np.float32), objects)


def told(scene, kind, frame=0):
    """Text -> targets of all that is said; a text never has two truths."""
    found = {}
    for wording in ("seen", "unseen"):
        for said in expressions(scene, frame, [kind], wording):
            assert found.setdefault(said.text, said.targets) == said.targets
    return found


ROW = scene_of(
    obj("small plain red circle", 20),
    obj("small plain blue square", 60, 46),
    obj("medium plain yellow circle", 100, 50, 16),
    obj("small plain green circle", 140, 30),
)


@pytest.mark.parametrize(
    ("kind", "text", "target"),
    [
        ("relation", "the circle left of the blue square", 0),
        ("relation", "circle between the blue square and the green circle", 2),
        ("relation", "the circle farthest from the red circle", 3),
        ("superlative", "the largest circle", 2),
        ("superlative", "which object is the rightmost?", 3),
        ("superlative", "the topmost circle", 3),
        ("ordinal", "the second circle from the left", 2),
        ("ordinal", "the third thing from the left", 2),
        ("ordinal", "middle circle from left to right", 2),
        ("knowledge", "what has the colour of a tomato?", 0),
        ("knowledge", "what is shaped like a window?", 1),
        ("function", "which one could be a window?", 1),
        ("odd", "which object is the odd one out?", None),
        ("relation", "the circle right of the blue square", None),  # there are two
        ("function", "which object could you roll?", None),
        ("superlative", "the smallest circle", None),  # two are as small
    ],
)
def test_instructions_about_a_row(kind, text, target):
    assert told(ROW, kind).get(text) == (None if target is None else (target,))


def test_the_odd_one_out():
    scene = scene_of(*(obj(f"small plain {c} star", x) for c, x in (("red", 20), ("blue", 70), ("red", 120))))
    assert set(told(scene, "odd").values()) == {(1,)}
    two = scene_of(
        *(obj(f"small plain {w}", x) for w, x in (("red star", 20), ("blue star", 70), ("red ring", 120)))
    )
    assert not told(two, "odd")


def test_plain_questions_have_true_answers():
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), SceneConfig(purpose="crowd"))
        shown = [(o.colour, o.shape) for o in scene.objects]
        numbers = ("zero", "one", "two", "three", "four", "five", "six")
        for said in expressions(scene, 0, ["question"]):
            asked = re.findall(r"[a-z]+", said.text)
            asked = [next((s for s in SHAPES if w in (s, f"{s}s", f"{s}es")), w) for w in asked]
            fit = [p for p in shown if all(w in p for w in asked if w in COLOURS or w in SHAPES)]
            if said.form == "unknown":
                assert said.answer == "no" and not said.targets
            elif said.form == "count":
                assert said.answer == numbers[len(fit)]
            elif said.form == "exists":
                assert said.answer == ("yes" if fit else "no")
            else:
                assert said.answer == getattr(scene.objects[said.targets[0]], said.form)


def test_unknown_words_name_nothing_drawn():
    drawn = {*COLOURS, *SHAPES, *TEXTURES, *SIZES}
    known = {w for table in (COLOUR_KNOWLEDGE, SHAPE_KNOWLEDGE) for row in table.values() for w in row}
    seen, unseen = {*THINGS, *HUES}, {*UNSEEN_THINGS, *UNSEEN_HUES}
    assert not (seen | unseen) & (drawn | known) and not seen & unseen
    scene = scene_of(obj("small plain red star", 20))
    for meaning in meanings(scene, 0, ["unknown"]):
        assert not meaning.targets
        for texts, things, hues in (
            (meaning.wordings, THINGS, HUES),
            (meaning.unseen, UNSEEN_THINGS, UNSEEN_HUES),
        ):
            # of two million texts one in 97, which has every pattern with every word
            said = [set(text.strip("?").split()) for text in texts[::97]]
            words = set(things if meaning.form == "thing" else hues)
            assert all(one & words for one in said) and words <= set().union(*said)


def moving(words, x, y, motion, step):
    way = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}[motion]
    return obj(words, x, y, 9.0, (way[0] * step, way[1] * step), 5, motion)


def test_instructions_about_moving_twins():
    ring = "small plain red ring"
    scene = scene_of(
        moving(ring, 40, 20, "right", 8), moving(ring, 80, 60, "right", 4), moving(ring, 130, 40, "still", 0)
    )
    assert told(scene, "motion", 2)["the red ring that does not move"] == (2,)
    assert "the red ring moving right" not in told(scene, "motion", 2)
    assert told(scene, "parked", 2)["which object is parked?"] == (2,)
    assert told(scene, "speed", 2)["which ring is the fastest?"] == (0,)
    assert told(scene, "speed", 2)["which moving thing is the slowest?"] == (1,)
    assert told(scene, "leading", 2)["which ring is leading the others that move to the right?"] == (1,)
    assert told(scene, "leading", 2)["which ring is the last of those moving to the right?"] == (0,)
    assert not told(scene, "leaving", 2)


def test_leaving_objects():
    scene = scene_of(
        moving("small plain red ring", 150, 20, "right", 14),
        moving("small plain red star", 10, 60, "right", 10),
    )
    assert told(scene, "leaving", 2)["which object leaves first?"] == (0,)


@pytest.mark.parametrize(
    ("task", "kinds"), [(Task.RES, IMAGE_KINDS), (Task.RVOS, CLIP_KINDS)], ids=["image", "clip"]
)
def test_samples_of_all_kinds(task, kinds):
    dataset = SyntheticDataset(60, seed=4, tasks=(task,), kinds=kinds)
    seen = set()
    for index in range(len(dataset)):
        drawn, samples = dataset.scene(index), dataset[index]
        for said, sample in zip(drawn.expressions, samples, strict=True):
            seen.add(said.kind)
            assert (sample.instruction, sample.task, sample.answer) == (said.text, said.task, said.answer)
            assert sample.meta["targets"] == said.targets
            assert (sample.answer is not None) == (sample.task is Task.VQA) == (sample.masks is None)
            assert said.targets or said.kind in ("absent", "question", "count", "unknown", "none")
            if sample.masks is not None:
                truth = [drawn.scene.ids[drawn.key] == i + 1 for i in said.targets]
                assert np.array_equal(sample.masks, np.reshape(truth, (-1, *drawn.scene.ids.shape[1:])))
                assert len(sample.masks) + len(sample.distractors) <= len(drawn.scene.objects)
            if said.kind == "absent":
                assert not any(" ".join(pair) in said.text for pair in HELD_OUT)
    assert seen == set(kinds)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_unseen_phrases_are_never_seen(kind):
    clip = kind not in IMAGE_KINDS
    options = {"tasks": (Task.RVOS if clip else Task.RES,), "kinds": (kind,)}
    config = SceneConfig(purpose={"odd": "odd", "motion": "twins"}.get(kind, "any"), frames=5 if clip else 1)
    for index in range(1 if kind == "unknown" else 4):  # its words are many, and the same in every scene
        scene = SyntheticDataset(4, seed=8, config=config, **options).scene(index)
        for meaning in meanings(scene.scene, scene.key, [kind]):
            assert len(meaning.unseen)
            assert not set(meaning.wordings) & set(meaning.unseen)


def test_kinds_are_drawn_by_weight():
    dataset = SyntheticDataset(150, kinds={"attribute": 3.0, "superlative": 1.0}, expressions_per_scene=4)
    kinds = [sample.meta["kind"] for samples in dataset for sample in samples]
    assert np.mean([kind == "attribute" for kind in kinds]) == pytest.approx(0.75, abs=0.07)


def test_one_frame_does_not_tell_twins_apart():
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), SceneConfig(purpose="twins", frames=5))
        for meaning in meanings(scene, 2, ["motion"]):
            one = scene.objects[meaning.targets[0]]
            twins = [o for o in scene.objects if (o.rgb, o.radius, o.angle) == (one.rgb, one.radius, one.angle)]
            assert len(twins) > 1
            assert len({o.motion for o in twins}) == len(twins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("motion",)}, "none of motion is asked of an image"),
        ({"kinds": {"relation": 0.0}}, "the weight of the kind 'relation' must be above 0, got 0.0"),
        ({"wording": "odd"}, "unknown wording 'odd'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SyntheticDataset(3, **options)


def test_a_purpose_of_videos_is_refused_for_images():
    with pytest.raises(ValueError, match="the purpose race needs at least 2 frames"):
        SceneConfig(purpose="race")
