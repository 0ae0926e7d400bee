"""The site of the docs: built strictly, every link and anchor leads somewhere, every image says what it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

import instructseg
from tests.pages import ROOT

TEXT = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


class Links(HTMLParser):
    """Links, anchors and images of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.images: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {str(given[name]) for name in ("id", "name") if given.get(name)}
        if tag in ("a", "img", "script", "link"):
            self.links += [str(given[name]) for name in ("href", "src") if given.get(name)]
        if tag == "img":
            self.images.append(given.get("alt"))


@pytest.mark.slow
def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in tmp_path.rglob("*.html")}
    assert len(pages) > 20
    reference = (tmp_path / "reference" / "index.html").read_text(encoding="utf-8")
    assert "ImagePredictor" in reference and not re.search(r":(?:class|func|meth|data):<", reference)
    for page, found in pages.items():
        if page.name == "404.html":
            continue
        assert all(found.images), f"{page}: an image without a text"
        for link in found.links:
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:|//", path):
                continue
            there = (page.parent / path.partition("?")[0]).resolve() if path else page
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{page.relative_to(tmp_path)}: {link}"
            if anchor and there in pages:
                assert anchor in pages[there].anchors, f"{page.relative_to(tmp_path)}: {link}"


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("!!python/name:", "")
    listed = re.findall(r"([\w-]+\.md)", str(yaml.safe_load(text)["nav"]))
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert len(listed) == len(set(listed)) and pages <= set(listed)
    assert set(listed) - pages == {
        "index.md",
        "model-card-mini.md",
        "model-card-nano.md",
        "contributing.md",
        "changelog.md",
    }


def test_the_reference_names_every_public_name() -> None:
    named = {line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)", TEXT, re.MULTILINE)}
    plain = {"DEMO_IMAGE", "DEMO_VIDEO", "DRAWN_IMAGE", "DRAWN_VIDEO", "MaskPrediction", "__version__"}
    assert named == set(instructseg.__all__) - plain
    for path in re.findall(r"^::: (\S+)", TEXT, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert getattr(instructseg, name) is getattr(__import__(module, fromlist=[name]), name)


def test_the_citation_is_that_of_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["license"] == "Apache-2.0"
    paper = cited["preferred-citation"]
    assert "2412.14006" in paper["url"] and paper["authors"][0]["family-names"] == "Wei"
