"""The front: help, version, and what starting costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from instructseg import training
from instructseg.cli import app, arguments
from instructseg.cli.errors import reported, stoppable
from instructseg.jobs.job import TaskChoice
from instructseg.processing import UnknownWordsWarning
from instructseg.progress import progress
from instructseg.results import parse_formats
from instructseg.structures import Task
from instructseg.version import __version__


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from instructseg.cli import app\n"
        "from typer.testing import CliRunner\n"
        "for words in (['--help'], ['image', '--help'], ['convert', 'official', '--help'], ['--version']):\n"
        "    result = CliRunner().invoke(app, words)\n"
        "    assert result.exit_code == 0 and result.output, words\n"
        "assert not {'torch', 'transformers', 'cv2', 'av'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_version_and_no_command() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == __version__
    assert "image" in CliRunner().invoke(app, []).output


def test_every_task_can_be_chosen() -> None:
    assert {choice.value for choice in TaskChoice} == {"auto", *(task.value for task in Task)}


def test_formats() -> None:
    assert parse_formats(["overlay, rle", "masks"]) == ("overlay", "rle", "masks")


def test_waiting_threads_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    CliRunner().invoke(app, ["convert", "--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    CliRunner().invoke(app, ["convert", "--help"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "a.yaml", "x=1", "--resume"], ("train", "a.yaml", ["x=1"], {"resume": True})),
        (["eval", "a.yaml", "x=1"], ("evaluate", "a.yaml", ["x=1"], {})),
    ],
)
def test_train_and_eval(words: list[str], expected: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    for room, name in ((training, "train"), (arguments, "evaluate")):
        monkeypatch.setattr(
            room, name, lambda file, given, _name=name, **more: calls.append((_name, file, given, more))
        )
    assert CliRunner().invoke(app, words).exit_code == 0
    assert calls == [expected]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("two\nlines"), 2, "error: two lines\n"),
        (FileNotFoundError(2, "No such file", "a.png"), 2, "error: No such file: a.png\n"),
        (FileExistsError("a exists"), 2, "error: a exists\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_reported(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, reported():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == line


def test_out_of_memory_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), reported():
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
    assert "--dtype bfloat16" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [RuntimeError("shape"), KeyError("U16"), RecursionError(), ZeroDivisionError("x")]
)
def test_what_nobody_foresaw_is_one_line_too(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for debug in ("", "1"):
        monkeypatch.setenv("INSTRUCTSEG_DEBUG", debug)
        with pytest.raises(SystemExit) as caught, reported():
            raise error
        assert caught.value.code == 1
        told = capsys.readouterr().err
        assert f"error: {type(error).__name__}: " in told and "INSTRUCTSEG_DEBUG=1" in told
        assert ("Traceback" in told) == bool(debug) and (told.count("\n") == 1) == (not debug)


def test_warnings_of_the_package_are_notes() -> None:
    ours = UnknownWordsWarning("the bundled model does not know these words: penguin")
    with reported():
        assert warnings.formatwarning(ours, UnknownWordsWarning, "main.py", 3) == f"note: {ours}\n"
        assert "main.py:3: UserWarning" in warnings.formatwarning("of others", UserWarning, "main.py", 3)
    assert "main.py:3" in warnings.formatwarning(ours, UnknownWordsWarning, "main.py", 3)


def test_debug_is_taken_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTRUCTSEG_DEBUG", "0")
    for words in (["--debug", "image", "none.jpg", "a"], ["image", "none.jpg", "a", "--debug"]):
        assert "Traceback" in CliRunner().invoke(app, words).stderr
        monkeypatch.setenv("INSTRUCTSEG_DEBUG", "0")
    assert "Traceback" not in CliRunner().invoke(app, ["image", "none.jpg", "--", "a", "--debug"]).stderr


def test_a_signal_ends_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught, reported(), stoppable():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # a second one does not cut what is being closed
    assert caught.value.code == 143 and capsys.readouterr().err == "stopped by a signal\n"
    assert signal.getsignal(signal.SIGTERM) is before


def slow() -> Iterator[int]:
    for i in range(3):
        time.sleep(0.15)  # a rate needs some time to be measured
        yield i


def test_the_bar_moves_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for forced, shown in (("", False), ("1", True)):
        monkeypatch.setenv("FORCE_COLOR", forced)
        with progress(slow(), None if forced else 3, "frames", "clip [1].mp4") as steps:
            assert list(steps) == [0, 1, 2]
        captured = capsys.readouterr()
        assert ("clip [1].mp4" in captured.err and "frames/s" in captured.err) == shown
        assert not captured.out
