"""Configurations of the recipe: its own fields, and what it takes from the package's."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.config import recipe_of
from recipes.nano.config import NanoRunConfig, load_config

CONFIGS = Path(__file__).parents[3] / "configs"
OURS = [path for path in sorted(CONFIGS.glob("**/*.yaml")) if recipe_of(path) == "nano"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_file_of_the_recipe_is_valid(path: Path) -> None:
    config = load_config(path)
    assert isinstance(config, NanoRunConfig)
    assert all(type(stage) is NanoRunConfig for stage in config.plan().values())


def test_the_files_of_the_recipe() -> None:
    assert {path.name for path in OURS} >= {"nano.yaml", "test.yaml"}
    assert recipe_of(CONFIGS / "nano.yaml", ["recipe=other"]) == "other"
    assert recipe_of(CONFIGS / "instructseg_3b.yaml") == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "data: {clips_per_batch: 0}",
            "run.yaml: data: clips_per_batch must be at least 1, or none, got 0",
        ),
        ("data: {clip_share: 2}", r"run.yaml: data: clip_share must be in \[0, 1\]"),
        ("data: {expressions_per_scene: 1000000000}", "expressions_per_scene must be at most 4,096"),
        ("data: {kinds: {attribute: -1}}", "data: kinds must not have negative weights"),
        ("data: {batch_size: 0}", "data: batch_size must be at least 1"),
        ("data: {kind: mixture}", r"run.yaml: data: recipe nano draws its scenes"),
        ("data: {mixture: [{name: refcoco, root: x}]}", r"run.yaml: data: recipe nano draws its scenes"),
        ("drawn: {instructions: 0}", "drawn: instructions must be at least 1"),
        ("lesson: patch", "run.yaml: lesson: expected Literal"),
        ("stages: {a: {drawn: {}}}", "run.yaml: stages.a.drawn: it is of the whole run"),
        ("stages: {a: {recipe: nano}}", "run.yaml: stages.a.recipe: it is of the whole run"),
        ("stages: {a: {lesson: 3}}", "run.yaml: stages.a.lesson: expected Literal"),
        ("data: {scnee: {}}", r"data.scnee: unknown key; .* 'data.scene'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"recipe: nano\nmodel: {{name: preset:nano}}\n{text}\n")
    with pytest.raises(ValueError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_another_recipe_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("recipe: nono\nmodel: {name: preset:nano}\n")
    with pytest.raises(ValueError, match="recipe: expected Literal"):
        load_config(path)
