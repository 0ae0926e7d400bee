"""Minimal Excel workbooks for MMBench: one sheet of text and whole numbers."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from instructseg.files import atomic_path

Cell = str | int | None

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_SHEET = "xl/worksheets/sheet1.xml"
_SHARED = "xl/sharedStrings.xml"
_PLACE = re.compile("[A-Z]{1,3}[0-9]{0,7}")
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    ElementTree.ParseError,
    KeyError,  # no such part
    ValueError,
    RuntimeError,  # encrypted
    NotImplementedError,  # another compression
    EOFError,
)

MAX_BYTES = 32 << 20
"""Uncompressed size of a part; MMBench's tables have a tenth of it."""
MAX_COLUMNS, MAX_CELLS = 16_384, 2_000_000
"""Limits of a sheet: the columns of Excel, and the cells kept in memory, empty ones included."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML cannot hold these

_FRAME = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
    f'<Override PartName="/{_SHEET}" ContentType="{_TYPES}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
    '<sheets><sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def write_xlsx(path: Path, rows: Iterable[Sequence[Cell]]) -> None:
    """Writes a workbook of one sheet; ``None`` is an empty cell. Drops characters that XML cannot hold."""
    lines = [
        f'<row r="{number}">{"".join(_cell(value, number, column) for column, value in enumerate(row))}</row>'
        for number, row in enumerate(rows, start=1)
    ]
    sheet = f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**_FRAME, _SHEET: sheet}.items():
            archive.writestr(name, _HEAD + content)


def read_xlsx(path: Path) -> list[list[str]]:
    """The cells of the first sheet as text, rows as long as their last cell.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no workbook, or larger than :data:`MAX_BYTES` and :data:`MAX_CELLS` allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            known = _part(archive, _SHARED) if _SHARED in archive.namelist() else ElementTree.Element("sst")
            return _rows(_part(archive, _SHEET), [_text(entry) for entry in known])
    except _DAMAGED as error:
        raise ValueError(f"{path} is no Excel workbook: {error or type(error).__name__}") from error


def _part(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    """An XML part; sizes are limited by what the archive declares, beyond which zipfile reads nothing."""
    size = archive.getinfo(name).file_size
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size:,} bytes, more than {MAX_BYTES:,}")
    content = archive.read(name)
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError(f"{name} defines entities, which a workbook does not")
    return ElementTree.fromstring(content)


def _rows(sheet: ElementTree.Element, texts: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = []
    count = 0
    for row in sheet.iter(f"{{{_MAIN}}}row"):
        cells: dict[int, str] = {}
        for place, cell in enumerate(row):
            value = _text(cell)
            column = _column_index(cell.get("r", "")) if cell.get("r") else place
            cells[column] = _shared(value, texts) if cell.get("t") == "s" else value
        width = max(cells, default=-1) + 1
        count += width
        if width > MAX_COLUMNS or count > MAX_CELLS:
            raise ValueError(f"more than {MAX_COLUMNS:,} columns or {MAX_CELLS:,} cells")
        rows.append([cells.get(column, "") for column in range(width)])
    return rows


def _shared(value: str, texts: Sequence[str]) -> str:
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value) < len(texts)):
        raise ValueError(f"a cell refers to shared text {value[:60]!r} of {len(texts)}")
    return texts[int(value)]


def _cell(value: Cell, row: int, column: int) -> str:
    if value is None:
        return ""
    place = f'r="{_column_name(column)}{row}"'
    if isinstance(value, int):
        return f"<c {place}><v>{value}</v></c>"
    text = escape(_CONTROL.sub("", value))
    return f'<c {place} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _text(entry: ElementTree.Element) -> str:
    """The text of a cell or shared string, whose runs may be formatted one by one."""
    return "".join(node.text or "" for node in entry.iter() if node.tag in (f"{{{_MAIN}}}t", f"{{{_MAIN}}}v"))


def _column_name(index: int) -> str:
    """0 to ``A``, 25 to ``Z``, 26 to ``AA``."""
    name = ""
    index += 1
    while index:
        index, letter = divmod(index - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def _column_index(place: str) -> int:
    """``A1`` to 0, ``XFD1`` to 16383."""
    if not _PLACE.fullmatch(place):
        raise ValueError(f"{place[:60]!r} names no cell")
    index = 0
    for letter in place.rstrip("0123456789"):
        index = 26 * index + ord(letter) - ord("A") + 1
    return index - 1
