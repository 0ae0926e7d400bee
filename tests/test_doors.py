"""No file that somebody else wrote makes this package run code: the doors are closed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import instructseg

PACKAGE = Path(instructseg.__file__).parent
READERS = {  # who may open weights of others, or their own checkpoints
    "safe_open": {"convert/safetensors_file.py", "engine/checkpoint.py"},
    "load_file": {"engine/checkpoint.py"},
    "load_model": {"engine/checkpoint.py"},
}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """File, what is called (``AutoConfig.from_pretrained``), and the call."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield str(file.relative_to(PACKAGE)), ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> object:
    """The constant that a keyword has; ``None`` without it."""
    found = [word.value for word in call.keywords if word.arg == name]
    return found[0].value if found and isinstance(found[0], ast.Constant) else None


def test_auto_classes_never_run_the_code_of_a_folder() -> None:
    doors = [
        (file, name, call)
        for file, name, call in calls()
        if (name.endswith(".from_pretrained") and name.startswith("Auto")) or name == "AutoModel.from_config"
    ]
    assert doors, "the walk finds nothing"
    for file, name, call in doors:
        assert given(call, "trust_remote_code") is False, f"{file}:{call.lineno} {name}"
    for file, name, call in calls():
        assert given(call, "trust_remote_code") is not True, f"{file}:{call.lineno} {name}"


def test_auto_classes_that_build_get_configurations_that_name_no_code() -> None:
    """A configuration that was made here names no code, and ``for_model`` knows classes alone."""
    known = {"AutoTokenizer.from_pretrained", "AutoBackbone.from_config", "AutoConfig.for_model"}
    known.add("AutoModel.from_config")  # of a configuration by ``for_model``, and never with code
    known.add("AutoConfig.register")  # tells transformers of our class, and loads nothing
    found = {name for _, name, _ in calls() if name.startswith("Auto")}
    assert found <= known, f"new doors of transformers: {found - known}"


def test_pickles_are_read_as_tensors_alone() -> None:
    for file, name, call in calls():
        if name == "torch.load":
            assert given(call, "weights_only") is True, f"{file}:{call.lineno}"
        assert name not in ("pickle.load", "pickle.loads"), f"{file}:{call.lineno}"


def test_weights_are_opened_in_one_place() -> None:
    for file, name, call in calls():
        if name in READERS:
            assert file in READERS[name], f"{file}:{call.lineno} {name}"
