"""``docs/where.md`` lists every room and every place of the repository, and nothing else."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.pages import ROOT
from tests.test_imports import PACKAGE, RANKS

TEXT = (ROOT / "docs" / "where.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


def rooms() -> set[str]:
    """Modules and folders of modules, named from the package on."""
    files = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}
    folders = {file.parent for file in PACKAGE.rglob("*.py")} - {PACKAGE}
    return files | {folder.relative_to(PACKAGE).as_posix() for folder in folders} | {"weights"}


def test_every_room_is_listed_once_with_its_rank() -> None:
    found = {name.strip("`"): int(rank) for name, rank, _ in table("Rooms of the package")}
    assert len(found) == len(table("Rooms of the package"))
    assert set(found) == rooms(), "docs/where.md and the folders of instructseg/ differ"
    assert found == {room: RANKS[room.partition("/")[0]] for room in found}


def test_every_place_beside_the_package_is_listed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository: which folders belong to it is not known")
    folders = {line.partition("/")[0] + "/" for line in listed.stdout.splitlines() if "/" in line}
    assert {name.strip("`") for name, _ in table("Beside the package")} == folders - {"instructseg/"}


def test_the_drawing_names_rooms() -> None:
    drawing = TEXT.split("```mermaid\n")[1].split("```")[0]
    named = re.findall(r"(\w+)(?:/|\.py)", drawing)
    assert {"data", "processing", "model", "criterion", "engine", "inference"} <= set(named) <= rooms()
