"""Pages of the site that lie elsewhere in the repository; links to files without a page become text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "instructseg/weights/mini/README.md": "model-card-mini.md",
    "instructseg/weights/nano/README.md": "model-card-nano.md",
}
"""Files of the repository that are pages of the site."""


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_linked(text, ROOT / source, page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Adapts the links of a page of ``docs/``."""
    name = page.file.src_uri
    return markdown if name in PAGES.values() else _linked(markdown, ROOT / "docs" / name, name)


def on_page_content(html: str, **_: Any) -> str:
    """Leaves out the marks of Sphinx, in which docstrings are written."""
    html = re.sub(r":(?:data|meth|func|class|mod|attr|exc):(<code>)~?", r"\1", html)
    return html.replace("::</p>", ":</p>")


def _linked(text: str, source: Path, page: str) -> str:
    """The text with links from ``page`` instead of from the file ``source``."""

    def link(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        path, _, anchor = target.partition("#")
        file = (source.parent / path).resolve().relative_to(ROOT).as_posix()
        there = PAGES.get(file) or (file.removeprefix("docs/") if file.startswith("docs/") else None)
        if there is None:
            return label.removeprefix("!").strip("[]")
        return f"{label}({there}{'#' + anchor if anchor else ''})"

    return re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", link, text)
