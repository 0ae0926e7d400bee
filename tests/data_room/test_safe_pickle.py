from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from instructseg.safe_pickle import load_plain
from recipes.nano.layouts.images import write_python2_pickle

CONTENT: list[dict[str, Any]] = [
    {"ref_id": 0, "sent": "the lady", "ids": (1, 2**40, -3), "score": 0.5, "none": None, "long": "x" * 300}
]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_plain_pickles_of_python_3(tmp_path: Path, protocol: int) -> None:
    content = [*CONTENT, {1, 2}, OrderedDict(a=1), b"\xff", "déjà"]
    (tmp_path / "a.p").write_bytes(pickle.dumps(content, protocol))
    assert load_plain(tmp_path / "a.p") == content


def test_byte_strings_of_python_2(tmp_path: Path) -> None:
    write_python2_pickle(tmp_path / "a.p", [*CONTENT, "déjà"])
    raw = (tmp_path / "a.p").read_bytes()
    assert b"U\x08the lady" in raw  # SHORT_BINSTRING, which Python 3 never writes
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(raw)
    assert load_plain(tmp_path / "a.p") == [*CONTENT, "déjà"]


def test_byte_strings_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.p").write_bytes(b"\x80\x02U\x03d\xe9j.")
    assert load_plain(tmp_path / "a.p") == "déj"


def test_python_2_protocol_0(tmp_path: Path) -> None:
    (tmp_path / "a.p").write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'the lady'\np3\nsS'n'\np4\nL12L\nsa.")
    assert load_plain(tmp_path / "a.p") == [{"sent": "the lady", "n": 12}]


class _Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_nothing_is_run(tmp_path: Path) -> None:
    (tmp_path / "a.p").write_bytes(pickle.dumps([_Evil(tmp_path / "made")], 2))
    with pytest.raises(
        ValueError, match=r"a\.p is damaged or unsafe: it asks for \w+\.mkdir, which is not plain"
    ):
        load_plain(tmp_path / "a.p")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__"])
def test_builtin_functions_are_refused(tmp_path: Path, name: str) -> None:
    for module in ("__builtin__", "builtins"):
        (tmp_path / "a.p").write_bytes(f"c{module}\n{name}\n.".encode())
        with pytest.raises(ValueError, match="not plain data"):
            load_plain(tmp_path / "a.p")


def test_damaged_and_missing(tmp_path: Path) -> None:
    whole = pickle.dumps(CONTENT, 2)
    for end in range(0, len(whole), 7):
        (tmp_path / "a.p").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="damaged"):
            load_plain(tmp_path / "a.p")
    with pytest.raises(FileNotFoundError, match=r"b\.p is missing"):
        load_plain(tmp_path / "b.p")


def test_a_length_beyond_the_file_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "long.p"
    file.write_bytes(b"\x8d" + bytes(7) + b"\x01")  # a text of 2**56 bytes
    with pytest.raises(ValueError, match=r"long\.p is damaged, or too large"):
        load_plain(file)
