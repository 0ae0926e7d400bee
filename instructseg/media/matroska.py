"""The skeleton of a Matroska or WebM file: whether its elements fill each other without a gap.

These files do not count their frames, and a reader that meets damage goes on behind it without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_SEGMENT, _CLUSTER, _VOID = 0x18538067, 0x1F43B675, 0xEC
_TOP = {
    0x114D9B74,
    0x1549A966,
    0x1654AE6B,
    _CLUSTER,
    0x1C53BB6B,
    0x1254C367,
    0x1941A469,
    0x1043A770,
    _VOID,
    0xBF,
}
_INSIDE = {0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, _VOID, 0xBF}


def broken_structure(path: Path) -> str:
    """What is wrong with the skeleton, for people; empty if it is whole, or without sizes (live)."""
    with path.open("rb") as file:
        length = path.stat().st_size
        head = _element(file)
        if head is None or head[0] != 0x1A45DFA3 or head[1] is None:
            return "its header is damaged"
        file.seek(head[1], 1)
        segment = _element(file)
        if segment is None or segment[0] != _SEGMENT:
            return "its header is damaged"
        if segment[1] is None:
            return ""
        end = file.tell() + segment[1]
        if end > length:
            return f"{end - length} bytes at its end are missing"
        return _children(file, end, _TOP)


def _children(file: BinaryIO, end: int, known: set[int]) -> str:
    """Goes through the elements up to ``end``."""
    while (at := file.tell()) < end:
        element = _element(file)
        if element is None or element[0] not in known:
            return f"data at byte {at} is damaged"
        if element[1] is None:
            return ""
        after = file.tell() + element[1]
        if after > end:
            return f"data at byte {at} is damaged"
        if element[0] == _CLUSTER and (wrong := _children(file, after, _INSIDE)):
            return wrong
        file.seek(after)
    return ""


def _element(file: BinaryIO) -> tuple[int, int | None] | None:
    """Identity and size in bytes of the element that begins here; the size is ``None`` where it is not told."""
    name, size = _number(file, keep=True), _number(file, keep=False)
    if name is None or size is None:
        return None
    return name[0], None if size[0] == (1 << 7 * size[1]) - 1 else size[0]


def _number(file: BinaryIO, keep: bool) -> tuple[int, int] | None:
    """A number of 1 to 8 bytes, whose leading zeros tell how many; with or without the bit behind them."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = first[0] if keep else first[0] & ((1 << (8 - width)) - 1)
    return int.from_bytes(bytes([value]) + rest, "big"), width
