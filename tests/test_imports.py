"""Who may import whom, and what importing costs.

Imports are read from the source, wherever they stand: at the top, inside a function, or under
``TYPE_CHECKING``. A room that only names another room's type knows that room too, so those count as well.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import instructseg

PACKAGE = Path(instructseg.__file__).parent

# A module imports lower ranks and its own room. The package's own __init__ is the front door: it names rooms
# of every rank, lazily, and no room goes through it.
RANKS = {
    "version": 0,
    "structures": 0,
    "questions": 0,
    "plurals": 0,
    "log": 0,
    "progress": 0,
    "distributed": 0,
    "safe_pickle": 0,
    "polygons": 0,
    "deprecation": 0,
    "typed_yaml": 1,
    "yaml_text": 0,
    "files": 0,
    "hub": 0,
    "shipped": 0,
    "devices": 0,
    "out_of_memory": 0,
    "masks": 1,
    "media": 1,
    "model": 2,
    "criterion": 2,
    "processing": 3,
    "prediction": 3,
    "data": 2,
    "evaluation": 2,
    "visualization": 2,
    "convert": 4,
    "export": 4,
    "engine": 4,
    "pretrained": 5,
    "systems": 7,
    "loading": 8,
    "config": 5,
    "inference": 6,
    "benchmarks": 7,
    "results": 7,
    "training": 7,
    "interop": 9,
    "weights": 7,
    "serve": 8,
    "jobs": 9,
    "cli": 10,
    "__main__": 11,
}


@dataclass(frozen=True)
class Import:
    """One imported module, as written in ``file`` at ``line``."""

    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE.parent)}:{self.line} imports {self.module}"


def module_name(file: Path) -> str:
    """``instructseg/model/ovp.py`` to ``instructseg.model.ovp``."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports_of(file: Path, source: str | None = None) -> tuple[Import, ...]:
    """Every import of a file; ``from package import name`` counts as ``package.name``."""
    return tuple(_imports(file, source or file.read_text(encoding="utf-8")))


def _imports(file: Path, source: str) -> Iterator[Import]:
    package = module_name(file) if file.name == "__init__.py" else module_name(file).rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = (
                ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            )
            base = ".".join(part for part in (above, node.module) if part)
            for alias in node.names:
                yield Import(file, node.lineno, f"{base}.{alias.name}")


def room(module: str) -> str:
    """``instructseg.model.ovp`` to ``model``; the front door is ``""``."""
    return module.partition(".")[2].partition(".")[0]


def violation(found: Import) -> str | None:
    """Why an import breaks the ranks; ``None`` when it does not."""
    if found.module.split(".")[0] != "instructseg" or module_name(found.file) == "instructseg":
        return None
    importer, imported = room(module_name(found.file)), room(found.module)
    if imported not in RANKS:
        return f"{found}: a name of the front door; import it from its room"
    if importer != imported and RANKS[imported] >= RANKS[importer]:
        return f"{found}: rank {RANKS[imported]} from {importer}, which has rank {RANKS[importer]}"
    return None


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_a_rank() -> None:
    rooms = {room(module_name(file)) for file in FILES} - {""}
    assert rooms <= set(RANKS)
    assert "utils" not in {part for file in FILES for part in module_name(file).split(".")}


def test_rooms_import_lower_ranks_only() -> None:
    broken = [text for file in FILES for found in imports_of(file) if (text := violation(found))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("file", "source", "allowed"),
    [
        ("model/new.py", "from instructseg.structures import Role", True),
        ("model/new.py", "from instructseg.model.ovp import Perceiver", True),
        ("model/new.py", "from . import ovp", True),
        ("model/new.py", "from ..structures import Role", True),
        ("model/new.py", "from instructseg import structures", True),
        ("model/new.py", "from instructseg.criterion import points", False),
        ("model/new.py", "from ..criterion import points", False),
        ("model/new.py", "import instructseg.inference.image", False),
        ("model/new.py", "from instructseg import Sample", False),
        ("structures.py", "def f():\n    from instructseg.masks import encode", False),
        ("structures.py", "if TYPE_CHECKING:\n    from instructseg.masks import encode", False),
        ("__init__.py", "from instructseg.cli import main", True),
    ],
)
def test_the_rule_itself(file: str, source: str, allowed: bool) -> None:
    (found,) = imports_of(PACKAGE / file, source)
    assert (violation(found) is None) == allowed


def test_the_package_imports_nothing_that_stands_beside_it() -> None:
    beside = {"recipes", "perf", "tests", "demo", "benchmarks"}
    found = [str(entry) for file in FILES for entry in imports_of(file) if entry.module.split(".")[0] in beside]
    assert not found, "\n".join(found)


CODE = re.compile(r"instructseg(\.\w+)+(:\w+)?")


def import_strings(source: str) -> list[str]:
    """Texts that name our modules or what is in them; names of loggers stand in no list of imports."""
    nodes = list(ast.walk(ast.parse(source)))
    loggers = {
        id(argument)
        for node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("getLogger", "get_logger"))
        for argument in node.args
    }
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loggers
        if CODE.fullmatch(node.value) and node.value.rpartition(".")[2] not in SUFFIXES
    ]


SUFFIXES = {"json", "jsonl", "yaml", "log"}  # names of files


def test_no_string_imports_code() -> None:
    found = [f"{file}: {text}" for file in FILES for text in import_strings(file.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)
    assert import_strings("load('instructseg.convert.own:load_own')") == ["instructseg.convert.own:load_own"]
    assert not import_strings("logging.getLogger('instructseg.engine'); text = 'instructseg.x is read'")
    own = [file for file in FILES if "import_module(" in file.read_text(encoding="utf-8")]
    assert {str(file.relative_to(PACKAGE)) for file in own} <= {"engine/trackers.py"}  # of other packages


def test_no_file_imports_torchvision() -> None:
    found = [
        str(entry)
        for file in FILES
        for entry in imports_of(file)
        if entry.module.split(".")[0] == "torchvision"
    ]
    assert not found, "\n".join(found)


def python(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_every_module_imports_without_optional_packages() -> None:
    absent = (
        "torchvision",
        "detectron2",
        "mask2former",
        "open_clip",
        "diffusers",
        "gradio",
        "decord",
        "fastapi",
        "supervision",
    )
    needing = (
        "__main__",
        "interop.detectron2",
        "interop.x_anylabeling",
        "interop.label_studio",
        "serve.service",
    )
    code = (
        "import importlib, pkgutil, sys, instructseg\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))  # None: as if not installed\n"
        "def fail(name): raise\n"
        "names = [m.name for m in pkgutil.walk_packages(instructseg.__path__, 'instructseg.', onerror=fail)]\n"
        "for name in names:\n"
        f"    if not name.endswith({needing!r}): importlib.import_module(name)\n"
        "print(*names)\n"
    )
    imported = set(python(code, PYTHONPATH=str(PACKAGE.parent)).split())
    assert imported >= {module_name(file) for file in FILES} - {"instructseg"}


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import instructseg\n"
        "print(f'import instructseg: {time.perf_counter() - start:.3f} s')\n"
        "heavy = {'torch', 'transformers', 'numpy', 'cv2', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    print(python(code, PYTHONPATH=str(PACKAGE.parent)))


def test_every_public_name_can_be_had() -> None:
    for name in instructseg.__all__:
        assert getattr(instructseg, name) is not None
    assert set(instructseg.__all__) <= set(dir(instructseg))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Segmenter'"):
        _ = instructseg.Segmenter
