"""Files of each format are read in one place, where damage becomes an error of one line."""

from __future__ import annotations

import ast
from pathlib import Path

import instructseg

PACKAGE = Path(instructseg.__file__).parent

READERS = {
    "json": {"load", "loads", "JSONDecoder"},
    "csv": {"reader", "DictReader"},
    "pickle": {"load", "loads", "Unpickler"},
    "torch": {"load"},
    "yaml": {"load", "safe_load", "full_load", "unsafe_load"},
    "zipfile": {"ZipFile"},
}
BOUNDARIES = {
    "json": {"files.py"},
    "csv": {"data/data_files.py"},
    "pickle": {"safe_pickle.py", "convert/readers.py"},
    "torch": {"convert/readers.py", "engine/state.py"},
    "yaml": {"yaml_text.py"},
    "zipfile": {"benchmarks/xlsx.py", "benchmarks/submission.py", "convert/readers.py", "engine/state.py"},
}
EXCEPTIONS = {
    ("jobs/job.py", "json"): "copies settings that it has just written as JSON",
    ("jobs/batch.py", "json"): "rows between the processes of one run",
    ("serve/page_actions.py", "zipfile"): "writes an archive, and reads none",
    ("results/table_formats.py", "zipfile"): "writes arrays, and reads none",
}


def calls(source: str) -> list[tuple[int, str]]:
    """Line and module of each reader that a file names, as an attribute or by ``from ... import``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, names = node.value.id, {node.attr}
        elif isinstance(node, ast.ImportFrom):
            module, names = node.module or "", {alias.name for alias in node.names}
        else:
            continue
        if names & READERS.get(module, set()):
            found.append((node.lineno, module))
    return found


def test_files_are_read_through_their_one_reader() -> None:
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        for line, module in calls(file.read_text(encoding="utf-8")):
            if name not in BOUNDARIES[module] and (name, module) not in EXCEPTIONS:
                found.append(f"{name}:{line} {module}")
    assert not found


def test_both_ways_to_name_a_reader_are_seen() -> None:
    assert calls("import json\njson.loads('1')") == [(2, "json")]
    assert calls("from json import loads") == [(1, "json")]
    assert calls("from json import dumps\nimport csv\ncsv.writer") == []
