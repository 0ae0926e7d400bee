from __future__ import annotations

import os
import pickle
import pickletools
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from instructseg import safe_pickle
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


MADE_UP = {
    "a text": b"\x8d" + bytes(7) + b"\x01",
    "bytes": b"\x8e" + (20 * 10**9).to_bytes(8, "little") + b".",
    "a byte array": b"\x80\x05\x96" + (20 * 10**9).to_bytes(8, "little") + b".",
    "a frame": b"\x80\x04\x95" + (20 * 10**9).to_bytes(8, "little") + b"N.",
    "a number": b"\x8b\xff\xff\xff\x7f.",
    "a negative length": b"T\xff\xff\xff\xff.",
    "a place of the memo": b"Nr\xff\xff\xff\x0f.",
    "a written place": b"Np999999999\n.",
    "a place of many digits": b"Np" + b"9" * 5000 + b"\n.",
}


@pytest.mark.parametrize("what", MADE_UP)
def test_a_made_up_size_is_refused_before_it_is_allocated(tmp_path: Path, what: str) -> None:
    file = tmp_path / "long.p"
    file.write_bytes(MADE_UP[what])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"long\.p is damaged or unsafe: (a value of|it notes)"):
            load_plain(file)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


CALLS = [
    *[(name, b"I20000000000\n") for name in ("bytearray", "bytes", "list", "set", "dict", "str", "tuple")],
    ("str", b"((ll"),
    ("set", b"((tl"),
    ("bytes", b"(I1\nl"),
]


@pytest.mark.parametrize(("name", "argument"), CALLS)
@pytest.mark.parametrize("module", ["__builtin__", "builtins"])
def test_no_callable_takes_a_size_or_a_nest(tmp_path: Path, module: str, name: str, argument: bytes) -> None:
    file = tmp_path / "call.p"
    file.write_bytes(f"c{module}\n{name}\n(".encode() + argument + b"tR.")
    with pytest.raises(ValueError, match=r"call\.p is damaged or unsafe: it calls \w+ with "):
        load_plain(file)


def test_the_scan_knows_every_opcode() -> None:
    """Against the standard library's own table: nothing of a pickle is read at a wrong place."""
    sizes = {-1: "line", -2: 1, -3: 4, -4: 4, -5: 8}
    for opcode in pickletools.opcodes:
        code, argument = ord(opcode.code), opcode.arg
        if code in safe_pickle._FOREIGN:
            continue
        if argument is None:
            assert code not in {*safe_pickle._LINES, *safe_pickle._FIXED, *safe_pickle._COUNTED}, opcode.name
        elif opcode.name == "FRAME" or argument.n in (-2, -3, -4, -5):
            assert safe_pickle._COUNTED[code] == (8 if opcode.name == "FRAME" else sizes[argument.n])
        elif argument.n == -1:
            assert safe_pickle._LINES[code] == (2 if argument.name.endswith("pair") else 1), opcode.name
        else:
            assert safe_pickle._FIXED[code] == argument.n, opcode.name
