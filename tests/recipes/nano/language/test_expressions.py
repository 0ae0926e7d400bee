from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.structures import Task
from recipes.nano.language.expressions import Meaning, draw_expressions, expressions, meanings
from recipes.nano.language.phrasing import describe, wordings
from recipes.nano.language.vocabulary import vocabulary_corpus
from recipes.nano.scenes.objects import COLOURS, SHAPES, SceneObject
from recipes.nano.scenes.scenes import SceneConfig, draw_scene, render

SIZE_WORDS = {"small": "small", "medium": "medium", "big": "big", "large": "big"}
MOTION_WORDS = {
    "left": "left",
    "right": "right",
    "up": "up",
    "upwards": "up",
    "down": "down",
    "downwards": "down",
    "still": "still",
    "not": "still",
    **dict.fromkeys(("top", "climbs", "higher"), "up"),
    **dict.fromkeys(("bottom", "falls", "lower"), "down"),
    **dict.fromkeys(("rest", "resting", "remains", "never", "without", "keeps", "stands"), "still"),
}


def read(text):
    """What a sentence asks for, by its words alone."""
    asked = {}
    for word in re.findall(r"[a-z]+", text):
        if word in COLOURS:
            asked["colour"] = word
        elif word in SHAPES:
            asked["shape"] = word
        elif word in SIZE_WORDS:
            asked["size"] = SIZE_WORDS[word]
        elif word in ("striped", "dotted"):
            asked["texture"] = word
        elif word in MOTION_WORDS:
            asked["motion"] = MOTION_WORDS[word]
    return asked


def looks_like(obj, asked, ignore=()):
    return all(getattr(obj, name) == value for name, value in asked.items() if name not in ignore)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 5]))
def test_every_instruction_fits_its_target_alone(seed, length):
    scene = draw_scene(np.random.default_rng(seed), SceneConfig(frames=length, related=0.8))
    for expression in expressions(scene, length // 2):
        asked = read(expression.text)
        assert set(asked) == set(expression.form.split())
        fitting = tuple(i for i, o in enumerate(scene.objects) if looks_like(o, asked))
        by_looks = tuple(i for i, o in enumerate(scene.objects) if looks_like(o, asked, ignore=("motion",)))
        assert expression.targets == fitting == by_looks
        (target,) = fitting
        assert scene.area(target, length // 2) >= 12
        radii = [o.radius for o in scene.objects]
        if asked.get("size") in ("small", "medium"):
            assert max(radii) > 1.25 * radii[target]
        if asked.get("size") in ("big", "medium"):
            assert min(radii) < radii[target] / 1.25
        assert length > 1 or "motion" not in asked
        assert expression.task is (Task.RVOS if length > 1 else Task.RES)


def obj(words, x, y=48.0, radius=10.0, motion="still", step=0.0, length=1):
    size, texture, colour, shape = words.split()
    centres = np.array([(x + step * t, y) for t in range(length)])
    return SceneObject(colour, shape, size, texture, motion, COLOURS[colour], radius, 0.0, centres)


def scene_of(*objects):
    return render(np.full((96, 160, 3), 128, np.float32), objects)


def said(scene, frame=0):
    return {(meaning.form, meaning.targets) for meaning in meanings(scene, frame)}


def test_all_instructions_of_a_scene_by_hand():
    scene = scene_of(
        obj("small plain red circle", 20),
        obj("big striped red circle", 70, radius=25),
        obj("small plain blue star", 130),
    )
    assert said(scene) == {
        ("size colour shape", (0,)),
        ("size shape", (0,)),
        ("size colour shape", (1,)),
        ("size shape", (1,)),
        ("texture colour shape", (1,)),
        ("texture shape", (1,)),
        ("colour shape", (2,)),
        ("size colour shape", (2,)),
        ("size shape", (2,)),
        ("shape", (2,)),
        ("colour", (2,)),
    }


def test_no_size_is_mentioned_where_all_are_alike():
    scene = scene_of(obj("medium plain red circle", 30), obj("medium plain blue circle", 90))
    assert {form for form, _ in said(scene)} == {"colour shape", "colour"}


@pytest.mark.parametrize(("radius", "is_said"), [(8.9, False), (9.0, True)])
def test_a_texture_too_fine_to_recognise_is_not_mentioned(radius, is_said):
    scene = scene_of(obj("small dotted red circle", 30, radius=radius), obj("small plain blue star", 90))
    assert (("texture shape", (0,)) in said(scene)) == is_said


def test_motion_is_mentioned_but_does_not_tell_twins_apart():
    left = obj("small plain red circle", 60, motion="left", step=-10, length=3)
    twin = obj("small plain red circle", 60, 80, motion="right", step=10, length=3)
    other = obj("small plain blue star", 120, motion="still", length=3)
    assert ("colour shape motion", (0,)) in said(scene_of(left, other), 1)
    assert not [form for form, targets in said(scene_of(left, other, twin), 1) if 0 in targets or 2 in targets]
    texts = [e.text for e in expressions(scene_of(left, other), 1)]
    assert "the red circle moving left" in texts
    assert "the blue star that does not move" in texts


def test_a_hidden_object_is_not_asked_about_but_stays_a_rival():
    hidden = obj("small plain red circle", 50)
    cover = obj("big plain blue square", 50, radius=30)
    twin = obj("small plain red circle", 130)
    assert {targets for _, targets in said(scene_of(hidden, cover, twin))} == {(1,)}


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind of expression 'riddle': there are attribute"):
        meanings(scene_of(obj("small plain red circle", 20)), 0, ["riddle"])


def test_wordings():
    assert set(describe((("colour", "red"), ("shape", "circle")))) == {
        "red circle",
        "circle that is red",
        "circle which is red",
    }
    texts = wordings((("size", "big"), ("shape", "star")))
    assert len(texts) == len(set(texts))
    assert {"the big star", "star that is large", "where is the star which is big?"} <= set(texts)


def test_draws_are_different_and_even_over_targets():
    scene = scene_of(obj("small plain red circle", 20), obj("small plain blue star", 130))
    one, rest = (
        Meaning("attribute", "shape", (i,), words) for i, words in ((0, ("a",)), (1, tuple("bcdefgh")))
    )
    rng = np.random.default_rng(0)
    firsts = [draw_expressions(rng, scene, [one, rest], 1)[0].targets for _ in range(400)]
    assert np.mean([targets == (0,) for targets in firsts]) == pytest.approx(0.5, abs=0.1)
    assert sorted(e.text for e in draw_expressions(rng, scene, [one, rest], 20)) == list("abcdefgh")


def test_the_vocabulary_holds_every_word_of_the_instructions():
    words = {word for line in vocabulary_corpus() for word in re.findall(r"[a-z]+", line)}
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), SceneConfig(frames=5))
        for expression in expressions(scene, 2):
            assert set(re.findall(r"[a-z]+", expression.text)) <= words
    future = "nearest behind leftmost overtakes banana odd how many yes none between wheel two not both color"
    assert set(future.split()) <= words


def test_the_vocabulary_has_no_unfilled_slot_and_fits_in_memory():
    lines = list(vocabulary_corpus())
    assert 1_000 < len(lines) < 50_000
    assert not [line for line in lines if "{" in line or "  " in line or line != line.strip()]
