from __future__ import annotations

from pathlib import Path

import pytest

from instructseg.media import atomic_path, write_text_atomic


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
