from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from instructseg.files import atomic_path, parse_json, read_json, write_json_atomic, write_text_atomic


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_is_read_in_every_encoding_that_json_has(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes('{"text": "übrig \\ud83d\\ude00"}'.encode(encoding))
    assert read_json(file) == {"text": "übrig \U0001f600"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"a": "\xe9"}', "not encoded in UTF-8"),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'["\\ud800"]', "half of a surrogate pair"),
        (b"1" * 10_000, "not valid JSON"),
    ],
)
def test_bad_json_is_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        read_json(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_of_json_is_named_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3 is not valid JSON"):
        parse_json("{", "metrics.jsonl, line 3")


def test_a_json_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_modes_that_the_umask_says(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "a.bin") as temporary:
            temporary.touch(0o600)  # as the writer of safetensors does
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == mode
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(target):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(target)
    assert caught.value.errno == 28
    assert list(tmp_path.iterdir()) == []
