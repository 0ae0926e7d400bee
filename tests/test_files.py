from __future__ import annotations

import json
from pathlib import Path

import pytest

from instructseg.files import atomic_path, write_json_atomic, write_text_atomic


def test_the_file_appears_at_the_end_in_new_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "result.tar.gz"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent
        assert temporary.suffix == ".gz"
        assert temporary.name.startswith(".")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "result.txt"
    write_text_atomic(target, "old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("ha")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "result.txt"):
        pass


def test_text_is_utf8_with_plain_line_feeds(tmp_path: Path) -> None:
    write_text_atomic(str(tmp_path / "a.txt"), "größer\n后轮\n")
    assert (tmp_path / "a.txt").read_bytes() == "größer\n后轮\n".encode()


def test_json_is_utf8_and_ends_in_a_line_feed(tmp_path: Path) -> None:
    content = {"name": "größer", "sizes": [1, 2]}
    for indent, lines in ((None, 1), (2, 7)):
        write_json_atomic(tmp_path / "a.json", content, indent)
        raw = (tmp_path / "a.json").read_bytes()
        assert json.loads(raw) == content and "größer".encode() in raw
        assert raw.endswith(b"\n") and raw.count(b"\n") == lines


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json_atomic(tmp_path / "a.json", {1j})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["1\n"]
