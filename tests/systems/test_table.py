"""The table of the page on other systems is that of the result files."""

from __future__ import annotations

from pathlib import Path

from instructseg.files import read_object
from recipes.systems.table import table_of
from recipes.systems.train import RESULTS


def test_the_page_shows_what_was_measured() -> None:
    page = (Path(__file__).parents[2] / "docs" / "systems.md").read_text(encoding="utf-8")
    assert table_of([read_object(file) for file in sorted(RESULTS.glob("*.json"))]) in page
