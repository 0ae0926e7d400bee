"""Shipped configurations are found by name from any folder, and all of them are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.config import load_config
from instructseg.shipped import CONFIGS, config_names, find_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "given", ["nano-tune", "nano/tune", "nano_tune", "configs/nano/tune.yaml", "nano/tune.yaml"]
)
def test_a_name_is_spelled_in_many_ways(given: str) -> None:
    assert find_config(given) == CONFIGS / "nano" / "tune.yaml"


def test_a_file_of_the_user_comes_first() -> None:
    Path("nano-tune").write_text("model: {name: preset:nano}")
    assert find_config("nano-tune") == Path("nano-tune")


def test_every_name_is_a_valid_run() -> None:
    names = config_names()
    assert find_config("tune-video") == names["nano-tune-video"]
    assert {"mini-tune", "nano-tune", "eval-refcoco", "instructseg-3b", "qwen3-4b"} <= set(names)
    assert "nano" not in names  # its recipe needs a clone
    for name in names:
        assert load_config(name).model.name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nano-tume", "did you mean nano-tune?"),
        ("tune", "did you mean mini-tune or nano-tune?"),
        ("something-else", "none of that name"),
        ("4b/../../x", "none of that name"),
        ("/configs/nano/tune.yaml", "none of that name"),
    ],
)
def test_an_unknown_name_says_what_to_do(given: str, said: str) -> None:
    with pytest.raises(FileNotFoundError, match=said):
        find_config(given)


def test_a_base_may_be_a_shipped_one() -> None:
    Path("mine.yaml").write_text("_base_: nano-tune\noutput_dir: runs/other")
    assert load_config("mine.yaml").output_dir == Path("runs/other")
    assert load_config("mine.yaml").model.name == "nano"
