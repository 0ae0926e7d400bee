"""The least of an Excel workbook: one sheet of text and whole numbers. MMBench takes nothing else."""

from __future__ import annotations

import re
import zipfile
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
        ValueError: it is no workbook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shared = "xl/sharedStrings.xml"
            known = archive.read(shared) if shared in archive.namelist() else b"<sst/>"
            texts = [_text(entry) for entry in ElementTree.fromstring(known)]
            sheet = ElementTree.fromstring(archive.read(_SHEET))
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"{path} is no Excel workbook: {error}") from error
    rows: list[list[str]] = []
    for row in sheet.iter(f"{{{_MAIN}}}row"):
        cells: dict[int, str] = {}
        for place, cell in enumerate(row):
            value = _text(cell)
            column = _column_index(cell.get("r", "")) if cell.get("r") else place
            cells[column] = texts[int(value)] if cell.get("t") == "s" else value
        rows.append([cells.get(column, "") for column in range(max(cells, default=-1) + 1)])
    return rows


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
    index = 0
    for letter in place.rstrip("0123456789"):
        index = 26 * index + ord(letter) - ord("A") + 1
    return index - 1
