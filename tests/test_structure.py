"""Names, sizes and signatures of the package, read from the source.

The tables list the exceptions: signatures of other libraries, and places still to be changed, which leave the
table with the change.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import instructseg

PACKAGE = Path(instructseg.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def trees() -> dict[str, ast.Module]:
    return {str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 380, 55, 8

Function = ast.FunctionDef | ast.AsyncFunctionDef

LONG_FUNCTIONS = {"results/saving.py save_results"}
MANY_PARAMETERS = {
    "media/reading.py __init__",
}
UNTYPED_OPTIONS = {
    "cli/options.py run",
    "deprecation.py call",  # passes on whatever the decorated function takes
    "interop/label_studio.py predict",  # signature of Label Studio
    # signatures of transformers
    "model/configuration.py from_dict",
    "model/pixel_decoder.py forward",
    "model/stored.py from_pretrained",
    "model/stored.py save_pretrained",
    "systems/explanatory/image_chameleon.py forward",
}


def functions() -> Iterator[tuple[str, Function]]:
    """Every function with its name in the tables."""
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{file} {node.name}", node


def repeated(names: list[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def parameters(node: Function) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in given if argument.arg not in ("self", "cls")]


def has_untyped_options(node: Function) -> bool:
    annotation = node.args.kwarg and node.args.kwarg.annotation
    return annotation is not None and ast.unparse(annotation) in ("Any", "object")


def test_module_names_occur_once() -> None:
    assert not repeated([file.stem for file in FILES if file.stem != "__init__"])


def test_class_names_occur_once() -> None:
    names = [
        node.name for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    assert not repeated(names)


def test_files_are_short() -> None:
    lengths = {file: len((PACKAGE / file).read_text(encoding="utf-8").splitlines()) for file in trees()}
    assert not {file for file, lines in lengths.items() if lines > MOST_LINES}


def test_functions_are_short() -> None:
    long = {
        name for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert long <= LONG_FUNCTIONS


def test_functions_have_few_parameters() -> None:
    many = {name for name, node in functions() if len(parameters(node)) > MOST_PARAMETERS}
    assert many <= MANY_PARAMETERS


def test_public_options_are_typed() -> None:
    untyped = {
        name for name, node in functions() if not node.name.startswith("_") and has_untyped_options(node)
    }
    assert untyped <= UNTYPED_OPTIONS
