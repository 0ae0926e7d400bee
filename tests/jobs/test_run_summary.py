"""Summaries on the terminal and as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from instructseg.jobs.run_summary import Summary
from instructseg.prediction import Prediction


def test_the_summary_counts_objects_and_joins_their_areas() -> None:
    def found(columns: slice, id: int, number: int, score: float) -> Prediction:
        mask = np.zeros((4, 10), bool)
        mask[:, columns] = True
        return Prediction(mask, score, 0.9, f"prompt {number}", id=id, instruction_id=number)

    summary = Summary("x")
    summary.add([found(slice(0, 2), 1, 0, 0.8), found(slice(1, 4), 2, 0, 0.6), found(slice(0, 1), 3, 1, 0.5)])
    summary.add([found(slice(0, 0), 0, 0, 0.4), found(slice(0, 1), 3, 1, 0.5)])
    first, second = summary.prompts
    assert (
        first["objects"] == 2 and first["area"] == pytest.approx(0.2) and first["score"] == pytest.approx(0.6)
    )
    assert "objects" not in second and second["found"]
    printed: dict[str, Any] = json.loads(summary.to_json())
    assert printed["prompts"][0]["objects"] == 2 and not any(key.startswith("_") for key in printed)
