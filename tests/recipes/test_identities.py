"""Identities are measured on masks whose ids are known: right ones, and ones that are swapped half-way."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from instructseg.files import read_json
from instructseg.prediction import Prediction
from recipes.identities import (
    FRAMES,
    KINDS,
    Judge,
    Tracks,
    TrueVideo,
    by_rank,
    drawn,
    of_truth,
    region_boundary,
)
from tests.pages import ROOT

HALF = 5


@pytest.fixture
def video() -> TrueVideo:
    """Two squares that stand still for ten frames."""
    labels = np.zeros((2 * HALF, 20, 40), np.uint8)
    labels[:, 4:12, 4:12], labels[:, 4:12, 24:32] = 1, 2
    return TrueVideo("squares", np.zeros((*labels.shape, 3), np.uint8), labels, "all the squares")


@pytest.fixture
def swapped(video: TrueVideo) -> Tracks:
    """The true masks, with the ids of the two exchanged in the second half."""
    return [
        [
            Prediction(frame == label, 0.5 + 0.1 * label, 1.0, id=label if t < HALF else 3 - label)
            for label in (1, 2)
        ]
        for t, frame in enumerate(video.labels)
    ]


def test_drawn_videos_hide_and_lose_objects_by_their_kind() -> None:
    for kind in KINDS:
        video = drawn(np.random.default_rng(3), kind, kind)
        area = np.array([[(frame == label).sum() for frame in video.labels] for label in (1, 2)])
        assert len(video.frames) == FRAMES and video.objects == [1, 2] and area[:, 0].all()
        least = area.min(1) / area.max(1)
        if kind == "returning":
            assert area[0].min() == 0 < area[0, -1] and least[1] > 0.9
        else:
            assert least.min() < 0.6
        assert kind != "hidden" or least.max() < 0.6


def test_a_swap_halves_the_overlap_of_each_object(video: TrueVideo, swapped: Tracks) -> None:
    assert region_boundary(video, of_truth(video)) == pytest.approx(1)
    assert region_boundary(video, swapped) == pytest.approx(0.5)


def test_rank_takes_the_better_mask_for_the_first(swapped: Tracks) -> None:
    assert [[one.id for one in some] for some in by_rank(swapped)] == [[1, 2]] * (2 * HALF)
    assert all(some[0].score > some[1].score for some in by_rank(swapped))


def test_hota_and_switches_of_a_swap(video: TrueVideo, swapped: Tracks) -> None:
    pytest.importorskip("trackeval", reason="pip install --no-deps trackeval==1.3.0")
    judge = Judge()
    right, wrong = judge.score(video, of_truth(video)), judge.score(video, swapped)
    assert judge.total([right])["HOTA"] == pytest.approx(1) and judge.total([right])["switches"] == 0
    found = judge.total([wrong])
    # each track shares 5 of its 10 frames with each object: AssA is 5 / (10 + 10 - 5)
    assert found["DetA"] == pytest.approx(1) and found["AssA"] == pytest.approx(1 / 3)
    assert found["HOTA"] == pytest.approx(3**-0.5) and found["switches"] == 2
    missed = [[replace(one, id=1) for one in some[:1]] for some in swapped]
    assert judge.total([judge.score(video, missed)])["DetA"] == pytest.approx(0.5)


def test_the_table_of_the_docs_is_that_of_the_figures() -> None:
    rows = read_json(ROOT / "recipes" / "identities.json")["rows"]
    page = (ROOT / "docs" / "videos.md").read_text(encoding="utf-8")
    lines = page[page.index("How well ids hold") :].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("|---")) + 1
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")[1:]]
        for line in islice(lines, start, start + len(rows))
    ]
    for line, one in zip(shown, rows, strict=True):
        interval = f"{one['low']:.2f} to {one['high']:.2f}"
        figures = [f"{one['HOTA']:.3f}", interval, str(one["switches"]), f"{one['J&F']:.3f}"]
        assert line == [re.sub(r"\b0\.", ".", value) for value in figures], one["row"]
    assert [one["row"].split(":")[0] for one in rows[::3]] == [
        *(f"nano, {kind}" for kind in KINDS),
        "mini, filmed",
    ]
    assert not lines[start + len(rows)]
