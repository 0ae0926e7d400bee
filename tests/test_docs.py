"""What the pages promise of themselves: pictures by a command, three lines a task, one screen to begin with."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from instructseg.results import FORMATS
from tests.pages import ROOT, blocks_of

DOCS, IMAGES = ROOT / "docs", ROOT / "docs" / "images" / "gallery"
TASKS = ("images", "videos", "several", "classes", "questions", "batch", "tuning")
IMAGE = re.compile(r"^!\[([^\]]+)\]\(([^)]+)\)$")


def text_of(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def gallery() -> dict[str, Any]:
    """The names of ``demo/gallery.py``."""
    return runpy.run_path(str(ROOT / "demo" / "gallery.py"))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_begins_with_an_image_and_three_lines(name: str) -> None:
    heading, image = [line for line in text_of(name).splitlines() if line][:2]
    assert heading.startswith("# ") and IMAGE.match(image)
    first = blocks_of(DOCS / f"{name}.md", "bash", "python")[0]
    assert not first.reason and 1 < len([line for line in first.text.splitlines() if line]) <= 3


def test_every_image_of_the_gallery_is_made_by_its_command_and_shown(gallery: dict[str, Any]) -> None:
    files = {file.stem: file for file in IMAGES.iterdir()}
    assert set(files) == set(gallery["GALLERY"])
    shown = [
        name for page in DOCS.glob("*.md") for name in re.findall(r"gallery/([\w-]+)\.webp", page.read_text())
    ]
    assert set(shown) == set(files)
    found, failed = text_of("gallery").split("## Failed")
    assert set(re.findall(r"gallery/(miss-[\w-]+)", failed)) == {
        name for name in files if name.startswith("miss-")
    }
    assert "gallery/miss-" not in found
    assert sum(file.stat().st_size for file in (DOCS / "images").rglob("*.*")) < 1_000_000


def test_what_the_gallery_asks_is_what_the_page_says(gallery: dict[str, Any]) -> None:
    page = text_of("gallery")
    for name, one in gallery["GALLERY"].items():
        line = next(line for line in page.split("## Found")[1].splitlines() if f"/{name}.webp" in line)
        near = page[page.index(line) : page.index(line) + len(line) + 80]
        assert all(asked in near for asked in one.asked), f"{name}: {one.asked}"


def test_the_gallery_draws_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["truck", "questions", "several"]
    words = [word for name in asked for word in ("--only", name)]
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--output", str(tmp_path), *words])
    runpy.run_path(str(ROOT / "demo" / "gallery.py"), run_name="__main__")
    for name in asked:
        made, kept = (Image.open(folder / f"{name}.webp") for folder in (tmp_path / "gallery", IMAGES))
        assert made.size == kept.size


def test_a_photograph_needs_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--only", "car"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "demo" / "gallery.py"), run_name="__main__")
    assert "--only car: choose from truck" in capsys.readouterr().err


def test_the_first_screen_has_one_image_one_installation_one_command_one_table() -> None:
    screen = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    lines = screen.splitlines()
    assert len([line for line in lines if IMAGE.match(line)]) == 1
    assert [line.split()[0] for line in re.findall(r"```bash\n(.*)\n```", screen)] == ["python", "instructseg"]
    rows = [line for line in lines if line.startswith("|")][2:]
    assert len(rows) == len([line for line in lines if line.startswith("|")]) - 2 > 6
    for row in rows:
        pages = "".join(
            (ROOT / page).read_text(encoding="utf-8") for page in re.findall(r"\((docs/[\w]+\.md)\)", row)
        )
        for command in re.findall(r"`(instructseg [^`]+)`", row):
            assert f"\n{command}" in pages, f"README: {command} is not on the page that the row names"


def test_readme_counts_the_formats() -> None:
    assert f"[{len(FORMATS)} formats]" in (ROOT / "README.md").read_text(encoding="utf-8")


PLANS = """
from instructseg import preset
from instructseg.inference.memory import Workload, plan_memory
one = Workload(instructions=1)
for budget in {budgets}:
    for device in ("cuda", "cpu"):
        try:
            print(plan_memory(preset("instructseg-3b"), budget, device=device, workload=one).to_text())
        except ValueError as error:
            print("refused:", error)
"""


def test_the_budgets_are_those_of_the_plan() -> None:
    rows = re.findall(r"^\| `(\d+GB)` \| (.*) \| (.*) \|$", text_of("models"), re.MULTILINE)
    assert len(rows) == 6
    source = PLANS.format(budgets=[row[0] for row in rows])  # on a CPU the size of the process counts, too
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    for cell, plan in zip([cell for row in rows for cell in row[1:]], done.stdout.splitlines(), strict=True):
        expected, said = (re.search(r"([\d.]+) GiB", text) for text in (plan.partition("at once: ")[2], cell))
        assert expected and said and float(expected[1]) == pytest.approx(float(said[1]), abs=0.2), plan
        assert plan.startswith(cell.split(":" if "refused" in cell else ", ")[0]), f"{cell} | {plan}"
