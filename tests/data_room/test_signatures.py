"""Names and signatures of the rooms of data: unique classes, short argument lists, typed options."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import instructseg

PACKAGE = Path(instructseg.__file__).parent
ROOMS = ("data", "benchmarks", "evaluation", "interop")


def nodes(rooms: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(path for room in rooms for path in (PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            yield file.relative_to(PACKAGE).as_posix(), node


def test_no_class_name_comes_twice() -> None:
    everything = tuple(path.name for path in PACKAGE.iterdir() if path.is_dir())
    names = Counter(node.name for _, node in nodes(everything) if isinstance(node, ast.ClassDef))
    ours = {node.name for _, node in nodes(ROOMS) if isinstance(node, ast.ClassDef)}
    assert {name for name in ours if names[name] > 1} == set()


def test_functions_have_eight_arguments_at_most_and_no_untyped_options() -> None:
    broken = []
    for file, node in nodes(ROOMS):
        if isinstance(node, ast.FunctionDef):
            given = node.args
            if len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) > 8 or given.kwarg is not None:
                broken.append(f"{file}: {node.name}")
    assert not broken
