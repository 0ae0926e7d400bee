"""The lesson of instructions on a tiny model: it learns, and its parts say what they are meant to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recipes.mini.photographs import read_photographs
from recipes.mini.samples import InstructedSource
from recipes.mini.whole import InstructionsLesson, _choice_losses, _figures
from recipes.mini.words import SYNONYMS
from tests.recipes.mini.test_names import small


def test_the_lesson_learns(root: Path) -> None:
    torch.manual_seed(0)
    model, processor = small()
    lesson = InstructionsLesson(model, len(SYNONYMS), 16)
    source = InstructedSource(read_photographs(root, "train"), processor, {"yard": 1.0, "thing": 1.0}, 2, 3, 0)
    optimizer = torch.optim.AdamW(lesson.parameters(), lr=2e-3)
    losses = []
    for step in range(24):
        optimizer.zero_grad()
        output = lesson(source.batch(step % 3)[0])
        output.total.backward()
        torch.nn.utils.clip_grad_norm_(lesson.parameters(), 5.0)
        optimizer.step()
        losses.append(output.total.item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    assert set(output.losses) == {"mask", "dice", "score", "pick", "kind", "point"}
    used = {name for name, weight in lesson.named_parameters() if weight.grad is not None}
    assert {"asking.weight", "place.weight", "level", "naming.weight", "model.mask_queries"} <= used


def test_rows_of_one_view_are_learned_as_if_each_had_its_own(root: Path) -> None:
    """The loss of a batch does not depend on how rows share views."""
    torch.manual_seed(0)
    model, processor = small()
    lesson = InstructionsLesson(model, len(SYNONYMS), 16).eval()
    source = InstructedSource(read_photographs(root, "train"), processor, {"yard": 1.0}, 1, 2, 0, moving=0.0)
    shared = next(batch for batch in (source.batch(i)[0] for i in range(20)) if len(batch) == 2)
    rows = len(shared)
    views = shared.views
    twice = replace(
        shared,
        views=replace(
            views,
            seg=views.seg.expand(rows, -1, -1, -1),
            masks=views.masks.expand(rows, -1, -1, -1),
            counts=views.counts * rows,
        ),
        clips=shared.clips.expand(rows, -1, -1, -1, -1),
        cells=shared.cells.expand(rows, -1, -1),
        categories=shared.categories.expand(rows, -1),
        image_index=torch.arange(rows),
    )
    torch.manual_seed(1)
    one = lesson(shared)
    torch.manual_seed(1)
    other = lesson(twice)
    for name, loss in one.losses.items():
        assert loss.item() == pytest.approx(other.losses[name].item(), rel=1e-4), name


def test_the_choice_is_best_where_scores_are_right() -> None:
    right = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    good = _choice_losses(torch.tensor([[-9.0, 9.0, -9.0], [-9.0, -9.0, -9.0]]), right)
    bad = _choice_losses(torch.tensor([[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0]]), right)
    assert 0 <= sum(good.values()) < 0.01
    assert sum(bad.values()) > 10
    nothing = _choice_losses(torch.full((1, 3), -9.0), torch.zeros(1, 3))
    assert sum(nothing.values()) < 0.01


def test_figures_count_rows_by_kind() -> None:
    right = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    scores = torch.tensor([[0.0, 1.0], [0.0, 1.0], [-1.0, -2.0], [1.0, -2.0]])
    assert _figures(scores, right, ("side", "side", "absent", "absent")) == {
        "right/side": 0.5,
        "right/absent": 0.5,
    }
