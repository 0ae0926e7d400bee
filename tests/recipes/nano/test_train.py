"""Which files the recipe trains by, and which the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import train_net
from instructseg import training
from instructseg.cli.arguments import evaluate, run_command
from recipes.nano import train as nano

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("file", "words", "owner"),
    [
        ("nano.yaml", [], nano),
        ("nano/test.yaml", ["drawn.instructions=3"], nano),
        ("nano/tune.yaml", [], None),
        ("nano/tune.yaml", ["recipe=nano"], nano),
        ("eval/refcoco.yaml", [], None),
    ],
)
def test_a_file_is_handed_to_its_owner(file: str, words: list[str], owner: object) -> None:
    expected = (training.train, evaluate) if owner is None else (nano.train, nano.evaluate)
    assert train_net.choose(str(ROOT / "configs" / file), words) == expected


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(ValueError, match="recipe: there is no 'nono'; there are mini, nano and systems"):
        train_net.choose(str(ROOT / "configs" / "nano" / "tune.yaml"), ["recipe=nono"])


def test_the_command_line_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, ...]] = []
    monkeypatch.setattr("sys.argv", ["train", "train.seed=1", "--resume", "output_dir=a b"])
    chosen = lambda file, words: (lambda *given: called.append(given), None)  # noqa: E731
    assert run_command("", chosen, "usual.yaml") == 0  # type: ignore[arg-type]
    assert called == [("usual.yaml", ["train.seed=1", "output_dir=a b"], True)]


def test_the_command_line_needs_a_file_where_none_is_usual(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train"])
    with pytest.raises(SystemExit):
        run_command("", train_net.choose)
    assert "--config-file" in capsys.readouterr().err
