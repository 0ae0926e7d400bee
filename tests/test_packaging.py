"""What pip installs: declared dependencies, files that ship, licence and version."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import instructseg

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = Path(instructseg.__file__).parent

# names of imports whose distribution is called otherwise
DISTRIBUTIONS = {
    "PIL": "pillow",
    "pillow_heif": "pillow-heif",
    "cv2": "opencv-python-headless",
    "open_clip": "open_clip_torch",
    "yaml": "pyyaml",
}
# brought by the tools that they are of; never needed to install, train or predict
OPTIONAL_ELSEWHERE = {"detectron2", "mask2former", "app", "cvat_sdk", "label_studio_ml", "label_studio_sdk"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The ``[project]`` table and its tools."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    """Distribution names of requirement lines, in lower case."""
    return {re.split(r"[^\w.-]", line.strip().lower())[0] for line in requirements}


@cache
def third_party(file: Path) -> set[tuple[str, bool]]:
    """Top-level packages that a file imports, each with whether the import stands at the top of the file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside = {id(node) for parent in ast.walk(tree) if _is_late(parent) for node in ast.walk(parent)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        else:
            continue
        found |= {(module.split(".")[0], id(node) not in inside) for module in modules}
    return {(name, top) for name, top in found if name not in {*sys.stdlib_module_names, "instructseg"}}


def _is_late(node: ast.AST) -> bool:
    """A function, or a block that only type checkers read."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


AT_THE_TOP = {
    PACKAGE / "interop" / "detectron2.py": {"detectron2"},  # on no index
    PACKAGE / "interop" / "x_anylabeling.py": {"app"},  # a server, whose modules are called so
    PACKAGE / "interop" / "label_studio.py": {"label_studio_ml"},
    PACKAGE / "serve" / "service.py": {"fastapi", "pydantic"},
    PACKAGE / "serve" / "bodies.py": {"pydantic"},
}
"""Files that cannot be imported without an optional package."""


def test_every_import_is_declared(project: dict[str, Any]) -> None:
    core = names(project["project"]["dependencies"])
    extras = project["project"]["optional-dependencies"]
    optional = names([line for name, lines in extras.items() if name != "dev" for line in lines])
    for file in sorted(PACKAGE.rglob("*.py")):
        for name, at_the_top in third_party(file):
            distribution = DISTRIBUTIONS.get(name, name)
            where = f"{file.relative_to(ROOT)} imports {name}"
            if at_the_top and name not in AT_THE_TOP.get(file, ()):
                assert distribution in core, f"{where} at the top, which is not a dependency"
            else:
                assert distribution in core | optional | OPTIONAL_ELSEWHERE, f"{where}, which is not declared"


def test_every_dependency_is_used(project: dict[str, Any]) -> None:
    imported = {
        DISTRIBUTIONS.get(name, name) for file in PACKAGE.rglob("*.py") for name, _ in third_party(file)
    }
    # by accelerate and transformers, not by name
    indirect = {"accelerate", "huggingface_hub"}
    assert names(project["project"]["dependencies"]) - indirect <= imported


def test_nothing_is_compiled_and_nothing_heavy_is_required(project: dict[str, Any]) -> None:
    required = names(project["project"]["dependencies"])
    assert not required & {
        "torchvision",
        "detectron2",
        "mmcv",
        "deepspeed",
        "flash-attn",
        "triton",
        "bitsandbytes",
    }
    assert not (ROOT / "setup.py").exists()
    assert not {file.suffix for file in PACKAGE.rglob("*")} & {".c", ".cpp", ".cu", ".pyx"}


def test_the_command_exists(project: dict[str, Any]) -> None:
    module, _, function = project["project"]["scripts"]["instructseg"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_folder_is_a_package(project: dict[str, Any]) -> None:
    for folder in {file.parent for file in PACKAGE.rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), f"{folder.relative_to(ROOT)} has no __init__.py"
    assert project["build-system"]["build-backend"] == "hatchling.build"  # ships every file of the package


def test_version_changelog_and_licence(project: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", instructseg.__version__)
    assert f"## [{instructseg.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert project["project"]["license"] == "Apache-2.0"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "InstructSeg toolkit contributors" in licence


def test_no_message_asks_an_index_for_this_package() -> None:
    for folder in (PACKAGE, *(ROOT / name for name in ("demo", "docs", "perf", "recipes"))):
        for file in (*folder.rglob("*.py"), *folder.rglob("*.md")):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"pip install ['\"]?instructseg", text), file.relative_to(ROOT)


@pytest.mark.parametrize(("name", "limit"), [("mini", 40e6), ("nano", 13e6)])
def test_the_bundled_weights_are_small(name: str, limit: float) -> None:
    size = sum(file.stat().st_size for file in (PACKAGE / "weights" / name).iterdir())
    assert 0 < size < limit
