"""Uploads of VQAv2 and MMBench, and the workbook that carries the latter."""

import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instructseg.benchmarks.submission_text import (
    validate_mmbench,
    validate_vqav2,
    write_mmbench,
    write_vqav2,
)
from instructseg.benchmarks.xlsx import _column_index, _column_name, read_xlsx, write_xlsx


def test_vqav2_has_every_question_once(tmp_path: Path) -> None:
    path = tmp_path / "upload" / "vqav2.json"
    write_vqav2(path, {2: "The Two."}, [1, 2])
    assert json.loads(path.read_text()) == [
        {"question_id": 1, "answer": ""},
        {"question_id": 2, "answer": "2"},
    ]
    assert validate_vqav2(path, [1, 2]) == []
    assert validate_vqav2(path, [2, 3]) == ["question 1: not asked", "question 3: missing"]
    with pytest.raises(ValueError, match="question 7 and 0 more are not in the question file"):
        write_vqav2(path, {7: "cat"}, [1, 2])


def test_faults_of_a_vqav2_upload(tmp_path: Path) -> None:
    path = tmp_path / "vqav2.json"
    entries = [{"question_id": 1, "answer": "a"}, {"question_id": 1, "answer": 2}, {"id": 3}]
    path.write_text(json.dumps(entries))
    assert validate_vqav2(path, [1]) == [
        "question 1: answered twice",
        "question 1: the answer is no text",
        "entry 2 is not {question_id, answer}",
    ]
    path.write_text("{}")
    assert "is no list of answers" in validate_vqav2(path, [1])[0]
    path.write_text("[")
    assert "is no JSON" in validate_vqav2(path, [1])[0]


QUESTION = {
    "index": "241",
    "question": "Which <one> & why?",
    "hint": "look",
    "A": "cat",
    "B": "dog",
    "C": "",
    "D": "",
    "answer": "A",
    "category": "x",
    "image": "/9j/",
    "source": "y",
    "l2-category": "z",
    "comment": "",
    "split": "dev",
}


def test_mmbench_columns_are_the_official_ones(tmp_path: Path) -> None:
    path = tmp_path / "mmbench.xlsx"
    write_mmbench(path, [QUESTION, {**QUESTION, "index": "1000241"}], {"241": "A", "1000241": "B"})
    header, first, second = read_xlsx(path)
    assert header == ["index", "question", "A", "B", "C", "D", "prediction", "answer", "split"]
    assert first == ["241", "Which <one> & why?", "cat", "dog", "", "", "A", "A", "dev"]
    assert second[6] == "B"
    assert validate_mmbench(path, ["241", "1000241"]) == []
    assert validate_mmbench(path, ["241", "7"]) == ["question 1000241: not asked", "question 7: missing"]
    with pytest.raises(ValueError, match="question 9 and 0 more"):
        write_mmbench(path, [QUESTION], {"9": "A"})
    with pytest.raises(ValueError, match="no questions to write"):
        write_mmbench(path, [], {})


def test_faults_of_an_mmbench_upload(tmp_path: Path) -> None:
    path = tmp_path / "mmbench.xlsx"
    write_mmbench(path, [QUESTION, QUESTION], {})
    assert validate_mmbench(path, ["241"]) == [
        "question 241: no prediction",
        "question 241: comes twice",
        "question 241: no prediction",
    ]
    write_xlsx(path, [["index"]])
    assert "has no column 'prediction'" in validate_mmbench(path, [])[0]
    path.write_text("no workbook")
    assert "is no Excel workbook" in validate_mmbench(path, [])[0]


@given(st.lists(st.lists(st.one_of(st.text(max_size=5), st.integers(0, 10**7)), min_size=1), max_size=4))
def test_a_workbook_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str | int]]
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "book.xlsx"
    write_xlsx(path, rows)
    kept = [
        [
            "".join(c for c in str(cell) if c in "\t\n\r" or (ord(c) >= 32 and c not in "\ufffe\uffff"))
            for cell in row
        ]
        for row in rows
    ]
    # XML reads all line ends as \n
    assert read_xlsx(path) == [[cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row] for row in kept]


def test_a_workbook_of_another_program_is_read(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "xl/sharedStrings.xml",
            f"<sst {space}><si><t>in</t></si><si><r><t>d</t></r><r><t>ex</t></r></si></sst>",
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f'<worksheet {space}><sheetData><row><c r="B1" t="s"><v>1</v></c></row>'
            "<row><c><v>7</v></c></row><row/></sheetData></worksheet>",
        )
    assert read_xlsx(path) == [["", "dex"], ["7"], []]


def test_every_part_of_a_workbook_is_xml_and_named(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write_xlsx(path, [["a", None, 3]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: ElementTree.fromstring(archive.read(name)) for name in archive.namelist()}
    named = {entry.get("PartName", "").lstrip("/") for entry in parts["[Content_Types].xml"]} - {""}
    assert named == {"xl/workbook.xml", "xl/worksheets/sheet1.xml"} <= parts.keys()
    assert read_xlsx(path) == [["a", "", "3"]]


def test_column_names() -> None:
    names = ["A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"]
    assert [_column_name(index) for index in (0, 25, 26, 51, 52, 701, 702)] == names
    assert [_column_index(f"{name}12") for name in names] == [0, 25, 26, 51, 52, 701, 702]


SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def workbook(path: Path, cells: str, shared: str = "", head: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst {SPACE}>{shared}</sst>")
        sheet = f"{head}<worksheet {SPACE}><sheetData>{cells}</sheetData></worksheet>"
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
    return path


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ('<row><c r="1A"><v>1</v></c></row>', "'1A' names no cell"),
        ('<row><c r="AAAAAAAA1"><v>1</v></c></row>', "names no cell"),
        ('<row><c r="-1"><v>1</v></c></row>', "names no cell"),
        ('<row><c r="ZZZ1"><v>1</v></c></row>', "more than 16,384 columns"),
        ('<row><c r="XFD1"><v>1</v></c></row>' * 200, "or 2,000,000 cells"),
        ('<row><c t="s"><v>7</v></c></row>', "shared text '7' of 1"),
        ('<row><c t="s"><v>-1</v></c></row>', "shared text '-1' of 1"),
        ('<row><c t="s"><v>' + "9" * 5000 + "</v></c></row>", "shared text '999"),
        ('<row><c t="s"><v>\u00b2</v></c></row>', "shared text"),
        ("<row><c></row>", "mismatched tag"),
        ("<row/>" + " " * (33 << 20), "bytes, more than 33,554,432"),
    ],
)
def test_a_damaged_or_huge_workbook_is_one_line(tmp_path: Path, cells: str, message: str) -> None:
    path = workbook(tmp_path / "book.xlsx", cells, "<si><t>a</t></si>")
    with pytest.raises(ValueError, match=message) as error:
        read_xlsx(path)
    assert str(error.value).startswith(f"{path} is no Excel workbook: ") and "\n" not in str(error.value)


def test_entities_are_refused(tmp_path: Path) -> None:
    head = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = workbook(tmp_path / "book.xlsx", "<row><c><v>&b;</v></c></row>", head=head)
    with pytest.raises(ValueError, match="defines entities"):
        read_xlsx(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_changed_workbook_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("sheet") / "book.xlsx"
    write_xlsx(path, [["index", "prediction"], [1, "A"]])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        read_xlsx(path)
    except ValueError as error:
        assert str(error).startswith(f"{path} is no Excel workbook: ") and "\n" not in str(error)
