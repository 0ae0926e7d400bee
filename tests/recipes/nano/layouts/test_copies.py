"""Copies of data sets by name, and the command that writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from instructseg.data.catalog import CATALOG
from recipes.nano.layouts import copies
from recipes.nano.layouts.__main__ import app
from recipes.nano.layouts.copies import COPIES, write_copies
from recipes.nano.layouts.image_copies import WRITERS
from recipes.nano.layouts.video_copies import video_layouts


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_copies_are_written_into_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made = write_copies(tmp_path / "empty", ["reasonseg"], pictures=2)
    assert made == {"reasonseg": [tmp_path / "empty" / "ReasonSeg"]}
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["ReasonSeg"]
    before = (tmp_path / "empty" / "ReasonSeg" / "counts.json").read_bytes()
    with pytest.raises(FileExistsError, match="is not empty: choose another folder"):
        write_copies(tmp_path / "empty", ["reasonseg"], pictures=1)
    assert (tmp_path / "empty" / "ReasonSeg" / "counts.json").read_bytes() == before


def test_every_layout_belongs_to_a_data_set() -> None:
    written = {place for place, _ in WRITERS.values()} | set(video_layouts())
    assert {place for places in COPIES.values() for place in places} == written | {"refer_seg/RES"}
    assert list(COPIES) == list(CATALOG)
    assert set(WRITERS) < set(COPIES)


def test_the_command_names_the_written_files(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    lines = run(folder, "--only", "gqa", "--only", "mevis", "--pictures", 1).stdout.splitlines()
    assert lines == [f"gqa: {folder / 'eval'}", f"mevis: {folder / 'mevis'}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["elsewhere", "--only", "revo"], "unknown data set 'revo'; the closest is 'revos'"),
        ([".."], "exists and is not empty: choose another folder"),
    ],
)
def test_bad_usage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = run(*words, code=2)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(copies, "write_video_layouts", stop)
    run(tmp_path / "copies", "--only", "gqa", code=130)
    assert not list(tmp_path.iterdir())
