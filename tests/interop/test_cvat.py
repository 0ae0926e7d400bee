"""CVAT's own checks of a function, and its own decoder of masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from instructseg.interop.cvat import CvatFunction, create
from tests.interop.test_annotate import IMAGE, Recorded

cvat = pytest.importorskip("cvat_sdk.auto_annotation")
masks = pytest.importorskip("cvat_sdk.masks")
LABELS = {"dog": "the dog on the left", "cat": "nothing", "ball": "ball"}


@dataclass
class Context:
    """What CVAT says about a frame."""

    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False
    frame_name: str = "a.png"


def test_the_function_is_one_for_cvat() -> None:
    function: Any = CvatFunction(Recorded(), LABELS)
    assert isinstance(function.spec, cvat.DetectionFunctionSpec)
    assert [(label.name, label.id) for label in function.spec.labels] == [("dog", 0), ("cat", 1), ("ball", 2)]


def test_masks_are_those_of_the_objects() -> None:
    system = Recorded()
    shapes = CvatFunction(system, LABELS).detect(Context(), IMAGE)
    assert [(shape.label_id, shape.type.value) for shape in shapes] == [(0, "mask"), (2, "mask")]
    right = [one for one in system.predict(IMAGE, LABELS.values()) if one.found]
    for shape, one in zip(shapes, right, strict=True):
        decoded = masks.decode_mask(shape.points, image_width=30, image_height=20)
        np.testing.assert_array_equal(decoded, one.mask)


def test_polygons_and_the_threshold_of_cvat() -> None:
    system = Recorded()
    shapes = CvatFunction(system, LABELS).detect(Context(0.5, conv_mask_to_poly=True), IMAGE)
    assert {shape.type.value for shape in shapes} == {"polygon"} and len(shapes) == 4
    assert all(len(shape.points) % 2 == 0 and len(shape.points) >= 6 for shape in shapes)
    assert system.asked[0][1] == {"threshold": 0.5}


def test_cvats_command_line_makes_it() -> None:
    function = create("circle=the red circle; square", model=None, device="cpu")
    assert function.labels == {"circle": "the red circle", "square": "square"}
