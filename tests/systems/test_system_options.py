"""Options of InstructSeg with the other systems: taken, or refused by name, and never a fault."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructseg import load
from instructseg.inference.image import ImageOptions
from instructseg.inference.predictor import Predictor
from tests.pages import ROOT

TINY = ROOT / "recipes" / "systems" / "package" / "instructseg_tiny"
GIVEN: dict[str, Any] = {
    "soft": True,
    "all_instances": True,
    "union": True,
    "arrange": "semantic",
    "edges": True,
    "explain": True,
    "max_new_tokens": 5,
    "consensus": 2,
    "keep_tokens": 0.5,
    "zoom": 2,
    "batch_size": 3,
}
"""Options with values that ask for something."""
TAKEN = {("visionllm-tiny", "all_instances")}


@lru_cache(maxsize=1)
def loaded(folder: Path) -> Predictor:
    return load(folder, device="cpu")


@pytest.mark.parametrize("name", sorted(one.name for one in TINY.glob("*-tiny")))
def test_an_option_is_taken_or_refused_by_name(name: str) -> None:
    assert set(GIVEN) == set(ImageOptions.__dataclass_fields__) - {"threshold"}
    predictor, frame = loaded(TINY / name), np.full((64, 64, 3), 200, np.uint8)
    for option, value in GIVEN.items():
        if (name, option) in TAKEN:
            assert predictor.predict(frame, "the circle", **{option: value})
        else:
            with pytest.raises(ValueError, match=f"knows no {option}|leave out --{option} semantic"):
                predictor.predict(frame, "the circle", **{option: value})


@pytest.mark.parametrize("name", sorted(one.name for one in TINY.glob("*-tiny")))
def test_values_out_of_range_are_refused(name: str) -> None:
    predictor, frame = loaded(TINY / name), np.full((64, 64, 3), 200, np.uint8)
    for options, said in (
        ({"threshold": 2.0}, "threshold 2.0 is outside 0..1"),
        ({"task": "nonsense"}, "unknown task 'nonsense'"),
        ({"zoom": 0}, "knows no zoom"),
    ):
        with pytest.raises(ValueError, match=said):
            predictor.predict(frame, "the circle", **options)  # type: ignore[arg-type]
