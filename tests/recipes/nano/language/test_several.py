"""Instructions that mean several objects, and their truth."""

from __future__ import annotations

import pytest

from instructseg.plurals import means_several, named_number
from instructseg.structures import Task
from recipes.nano.language.expressions import expressions
from recipes.nano.scenes.scenes import SceneConfig
from recipes.nano.synthetic import SyntheticDataset
from tests.recipes.nano.language.test_kinds import ROW, moving, obj, scene_of, told


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("all the circles", (0, 2, 3)),
        ("the three circles", (0, 2, 3)),
        ("every circle", (0, 2, 3)),
        ("everything blue", (1,)),
        ("both circles", None),  # there are three
        ("the two things on the left", (0, 1)),
        ("find all the circles on the right", (2, 3)),
        ("segment all the circles right of the blue square", (2, 3)),
        ("the red circle and the blue square", (0, 1)),
        ("all the stars", None),
    ],
)
def test_instructions_for_several_of_a_row(text: str, targets: tuple[int, ...] | None) -> None:
    assert told(ROW, "several").get(text) == targets


def test_two_by_their_looks_are_asked_for_in_either_order() -> None:
    said = told(ROW, "pair")
    assert said["the red circle and the blue square"] == said["the blue square and the red circle"] == (0, 1)
    assert {said.form for said in expressions(ROW, 0, ["pair"])} == {"pair"}


def test_instructions_for_several_that_are_not_there() -> None:
    said = told(ROW, "none")
    assert not any(said.values())
    assert {"all the stars", "both stars", "everything orange", "all the blue circles"} <= said.keys()
    assert not {"all the circles", "all the yellow circles", "everything red"} & said.keys()


def test_objects_of_a_video_count_where_each_can_be_seen() -> None:
    ring = "small plain red ring"
    scene = scene_of(moving(ring, 40, 20, "right", 4), moving(ring, 80, 60, "right", 4))
    assert told(scene, "several", 2)["both rings"] == (0, 1)
    assert {said.form for said in expressions(scene, 2, ["several"])} == {"all", "number"}
    hidden = scene_of(moving(ring, 40, 20, "right", 4), moving(ring, 220, 60, "right", 4))
    assert not told(hidden, "several", 2)  # one will come in later, or has been there


def test_one_object_may_be_all_there_is_of_a_look() -> None:
    scene = scene_of(obj("small plain red star", 20), obj("small plain blue ring", 80))
    assert told(scene, "several")["all the stars"] == (0,)


@pytest.mark.parametrize("wording", ["seen", "unseen"])
def test_predictors_read_them_as_meaning_several(wording: str) -> None:
    scenes = SyntheticDataset(
        40, 1, SceneConfig(backgrounds={"white": 1}), (Task.RES,), 8, kinds=("several", "none"), wording=wording
    )
    for index in range(40):
        for said in scenes.scene(index).expressions:
            assert means_several(said.text), said.text
            if said.form in ("number", "ends"):
                assert named_number(said.text) == len(said.targets), said.text
