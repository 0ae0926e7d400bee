"""Seeded byte mutations of a file, read in a process of its own with limits of time and memory."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

LONGEST = 10
"""Seconds that a file may take."""
ROOM = 1 << 28
"""Bytes that the process may map beyond those that it begins with."""
_WORDS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"\xff" * 8,
)
_TEXTS = (
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"null",
    b'"',
    b"\n",
    b"{",
    b"[" * 2000,
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\t",
    b"0",
)


def mutated(chance: random.Random, raw: bytes) -> bytes:
    """A damaged copy: one to eight changes of single bits, bytes, words, texts or pieces, or a cut."""
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        # half of the changes hit the beginning, where headers are
        last = max(1, min(len(data), 200) if chance.random() < 0.5 else len(data))
        at, length = chance.randrange(last), chance.randrange(1, 33)
        kind = chance.randrange(9)
        if kind < 2 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif kind in (3, 4):
            word = chance.choice(_WORDS if kind == 3 else _TEXTS)
            data[at : at + len(word)] = word
        elif kind == 5:
            data[at : at + length] = chance.randbytes(length)
        elif kind == 6:
            del data[at : at + length]
        elif kind == 7:
            piece = data[at : at + length]
            data[at:at] = piece * chance.choice((1, 1, 50))
        else:
            del data[chance.randrange(len(data) + 1) :]
        if not data:
            break
    return bytes(data)


def fault_of(error: BaseException, file: Path) -> str:
    """Why a user cannot read an error; empty where it is a ``ValueError`` of one line that names the file."""
    text = str(error)
    kinds = (ValueError, FileNotFoundError)
    if not isinstance(error, kinds) or type(error).__module__.split(".")[0] not in ("builtins", "instructseg"):
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"foreign {type(error).__name__}: {text[:200]} ({Path(where.filename).name}:{where.lineno})"
    if isinstance(error, UnicodeError):
        return f"foreign {type(error).__name__}: {text[:200]}"
    if not text.isprintable():
        return f"not one printable line: {text[:300]!r}"
    if not any(name in text for name in (file.name, file.parent.name, file.parent.parent.name)):
        return f"does not say where: {text[:300]}"
    return "" if len(text) < 2000 else f"{len(text)} letters: {text[:200]}"


def faults(file: Path, read: Callable[[Path], Any], seeds: Iterable[int], room: int = ROOM) -> list[str]:
    """What went wrong with mutations of ``file``: crash, hang, foreign error, or too much memory.

    Args:
        file: intact; it is put back at the end.
        read: reads all of it; raises ``AssertionError`` where the result is no valid one.
        seeds: one for each mutation.
        room: bytes that may be mapped.
    """
    raw, found, waiting, failed = file.read_bytes(), [], list(seeds), 0
    while waiting:
        done = _in_a_child(file, read, raw, waiting, room, found)
        # threads of other tests' decoders can break a fork before it reads anything: that is no finding
        failed = 0 if done else failed + 1
        assert failed < 4, "the child died before it began"
        waiting = waiting[done:]
    file.write_bytes(raw)
    return found


def _in_a_child(
    file: Path, read: Callable[[Path], Any], raw: bytes, seeds: list[int], room: int, found: list[str]
) -> int:
    """Tries seeds until the process dies; returns how many are done."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.close(readable)
        with os.fdopen(writable, "w", buffering=1) as told:
            _try(file, read, raw, seeds, room, told)
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as lines:
        told = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    found += [line[1:] for line in told if line.startswith("!")]
    begun = [line for line in told if line.startswith("#")]
    if status == 0:
        return len(seeds)
    if not begun:
        return 0
    why = "hang" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else f"crash {status}"
    found.append(f"seed {begun[-1][1:]}: {why}")
    return len(begun)


def _try(file: Path, read: Callable[[Path], Any], raw: bytes, seeds: list[int], room: int, told: Any) -> None:
    try:  # here, since threads of decoders do not survive a fork
        file.write_bytes(raw)
        read(file)
    except BaseException as error:  # noqa: BLE001
        print(f"!the intact file is not read: {error!r}", file=told)
        return
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + room, mapped + room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for seed in seeds:
        print(f"#{seed}", file=told)
        file.write_bytes(mutated(random.Random(seed), raw))
        signal.alarm(LONGEST)
        start, fault = time.perf_counter(), ""
        try:
            read(file)
        except BaseException as error:  # noqa: BLE001  (what it is, is judged)
            fault = fault_of(error, file)
        signal.alarm(0)
        if fault:
            print(f"!seed {seed} ({time.perf_counter() - start:.1f} s): {fault}", file=told)
    sys.stdout.flush()
