"""What README and docs show, runs.

The blocks of a page are run in order, in one folder that holds what the page names: an image, a video, small
copies of the data sets, small checkpoints, and the bundled model where it says ``weic22/InstructSeg``. Long
commands are shortened (``SHORTER``). A block that says ``# not run by the tests: reason`` is only checked: its
commands, options, configuration files and fields exist, and so do the names and arguments that its Python uses.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import io
import re
import runpy
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from omegaconf import OmegaConf
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.config import load_config, recipe_of
from recipes.mini.train import read_run as read_mini
from recipes.nano.config import load_config as load_nano
from recipes.systems.train import read_run
from tests.interop import stand_in
from tests.interop.conftest import OURS, import_with
from tests.page_inputs import page_folder, page_inputs
from tests.pages import IN_A_CLONE, PAGES, ROOT, Block, blocks_of, commands_of, of_this_project

__all__ = ["page_folder", "page_inputs"]
ELSEWHERE = {
    ("README.md", "InstructSeg"): "pip",
    ("README.md", "Two commands"): "pip pytest",
    ("CONTRIBUTING.md", "Checks"): "ruff mypy pytest",
    ("docs/tuning.md", ""): "instructseg python",
}
"""Blocks whose commands other places run: ``.ci/run`` as printed, ``tests/cli/test_tuning.py``."""
TINY_TRAINING = ["train.max_steps=1", "data.batch_size=2", "data.switch_bs=2"]
SHORTER = {"eval": ["model.name=nano", "eval.limit=1", "eval.pictures=0"], "train": TINY_TRAINING}
"""Appended to what evaluates and trains."""


ALONE = {"--help", "--version", "--install-completion", "--show-completion"}
"""Options of ``instructseg`` without a command."""


@cache
def options_of(*script: str) -> str:
    """What ``script --help`` prints."""
    module = script[0] == "-m"
    name = script[1] if module else str(ROOT / script[0])
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(shown):
        patch.setenv("COLUMNS", "200")
        run_python([name, "--help"], runpy.run_module if module else runpy.run_path)
    return shown.getvalue()


def problem(words: list[str]) -> str | None:
    """What is wrong with a command, given without ``instructseg`` or the interpreter in front of it."""
    module, words = (words[:2], words[2:]) if words[:1] == ["-m"] else ([], words)
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    if module:
        if importlib.util.find_spec(module[1]) is None:
            return f"no module {module[1]}"
        text = options_of(*module) if used else ""
        unknown = {option for option in used if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)}
    elif words and words[0].endswith(".py"):
        if not (ROOT / words[0]).is_file():
            return f"{words[0]} does not exist"
        text = options_of(words[0])
        unknown = {option for option in used if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)}
    else:
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands") and words and words[0] in command.commands:
            command, words = command.commands[words[0]], words[1:]
        if hasattr(command, "commands") and not set(words) <= ALONE:
            return f"no such command: {shlex.join(words)}"
        known = {option for entry in command.params for option in (*entry.opts, *entry.secondary_opts)}
        unknown = used - known - {"--help"}
    return f"no such option: {', '.join(sorted(unknown))}" if unknown else None


def check_configuration(words: list[str]) -> None:
    """Loads the YAML file that a command names, with the fields that the command changes."""
    changed = [word for word in words if re.match(r"[a-z_]+(\.\w+)*=", word)]
    named = [word for word in words if word.endswith(".yaml")]
    if words[:1] in (["train"], ["eval"]):
        named = words[1:2]
    for file in named:
        readers = {"nano": load_nano, "systems": read_run, "mini": read_mini}
        readers.get(recipe_of(file, changed), load_config)(file, changed)


def check_python(text: str) -> None:
    """Whether Python that is not run can be: names of this package, and the arguments given to them."""
    known: dict[str, Any] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("instructseg"):
            name = str(node.module)
            bare = name == OURS and not importlib.util.find_spec("detectron2")
            try:
                module = import_with(stand_in.modules()) if bare else importlib.import_module(name)
            except ModuleNotFoundError as error:  # of another tool
                assert not str(error.name).startswith("instructseg"), error
                source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")  # type: ignore[union-attr, arg-type]
                assert all(
                    re.search(rf"^(?:def|class) {one.name}\b", source, re.MULTILINE) for one in node.names
                )
                continue
            known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
            names = {keyword.arg: None for keyword in node.keywords if keyword.arg}
            inspect.signature(known[node.func.id]).bind_partial(*node.args, **names)


def run_command(words: list[str]) -> None:
    """Runs a command of this project in this process, in the working directory, shortened."""
    words = of_this_project(words)
    print("running", shlex.join(words))
    if words[0].endswith(".py"):
        kind = "eval" if "--eval-only" in words else "train"
        run_python([str(ROOT / words[0]), *words[1:], *SHORTER[kind]], runpy.run_path)
    elif words[0] == "-m":
        run_python(words[1:], runpy.run_module)
    else:
        if "my_data" in words:  # two data sets of the user's own, which the pages call alike
            words = [words[2] if word == "my_data" else word for word in words]
        words = [*words, *SHORTER.get(words[0], [])]
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"


def run_python(words: list[str], runner: Any) -> None:
    """Runs a script or a module as ``__main__``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words)
        for name in {words[0], f"{words[0]}.__main__"} & set(sys.modules):
            if runner is runpy.run_module and not hasattr(sys.modules[name], "__path__"):
                patch.delitem(sys.modules, name)  # runpy warns of modules that another test imported
        try:
            runner(words[0], run_name="__main__")
        except SystemExit as end:
            assert not end.code, f"{shlex.join(words)}: exit code {end.code}"


def run_yaml(block: Block, above: dict[str, Any]) -> dict[str, Any]:
    """Loads the configuration that a page shows, of which earlier blocks may show other parts; returns it."""
    shown = OmegaConf.create(block.text)
    if "_base_" not in shown:
        shown = OmegaConf.merge({"model": {"name": "preset:nano"}}, above, shown)
    file = Path("configs/shown.yaml")
    file.write_text(OmegaConf.to_yaml(shown))
    load_config(file)
    return {"shown": shown}


def elsewhere(block: Block, words: list[str]) -> bool:
    """Whether something else runs the command."""
    page = str(block.page.relative_to(ROOT))
    programs = ELSEWHERE.get((page, block.heading)) or ELSEWHERE.get((page, ""), "")
    return any(program in words[:3] for program in programs.split())


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    """Runs what a block shows, or checks it where the block says that it is not run."""
    print(f"{block} [{block.reason or 'run'}]")
    if block.says_clone and not IN_A_CLONE:
        return
    block = replace(block, text=re.sub(r"(?<![\w.])/data/", "data/", block.text))
    commands = commands_of(block) if block.fence == "bash" else []
    for words in commands:
        if words[0] == "export":
            continue
        ours = of_this_project(words)
        assert block.reason or ours or elsewhere(block, words), f"{words}: run it, or say why it is not run"
        if ours:
            assert problem(ours) is None
            check_configuration(ours)
        if not block.reason and not elsewhere(block, words):
            run_command(words)
    if block.fence == "yaml":
        namespace |= run_yaml(block, namespace.get("shown", {}))
    elif block.fence == "python":
        source = compile("\n" * block.line + block.text, str(block.page), "exec")
        if block.reason:
            check_python(block.text)
        else:
            exec(source, namespace)


RUN_BY_OTHERS = {"service.md": "tests/serve/test_service_page.py"}
"""Pages whose blocks need more than a folder."""


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name) for page in PAGES if page.name not in RUN_BY_OTHERS]
)
def test_a_page_runs(page: Path, page_folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page, "bash", "python", "yaml"):
        run_block(block, namespace)


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name) for page in PAGES if page.name != "CONTRIBUTING.md"]
)
def test_what_needs_a_clone_says_so(page: Path) -> None:
    """Other blocks run with the wheel (``tests/test_wheel.py``)."""
    for block in blocks_of(page, "bash", "python"):
        if block.heading == "Two commands" or (page.name == "README.md" and block.line < 20):
            continue  # the text above says it
        assert block.says_clone or not block.needs_clone, f"{block}: say that it needs a clone"


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_fences_are_of_known_kinds(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(fences) <= {"", "bash", "python", "yaml", "mermaid", "javascript"}, (
        "a block of another kind would not be run"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imag photo.jpg", "no such command"),
        ("convert oficial a b", "no such command"),
        ("image photo.jpg cat --modle x", "no such option: --modle"),
        ("train_net.py --config x", "no such option: --config"),
        ("-m recipes.nano.layouts copies --olny refcoco", "no such option: --olny"),
        ("-m perf.sped", "no module perf.sped"),
        ("demo/nothing.py", "demo/nothing.py does not exist"),
    ],
)
def test_a_wrong_command_is_found(text: str, expected: str) -> None:
    assert (problem(shlex.split(text)) or "").startswith(expected)


REASON = "\n# not run by the tests: needs a camera"


@pytest.mark.parametrize(
    ("fence", "text", "expected"),
    [
        ("bash", "instructseg image none.jpg 'the red circle'", "none.jpg"),
        (
            "bash",
            "python train_net.py --config-file configs/nano/tune.yaml train.max_step=3" + REASON,
            "max_steps",
        ),
        ("bash", "curl example.org", "say why"),
        ("python", "from instructseg import ImagePredictr", "ImagePredictr"),
        ("python", "from instructseg import ImagePredictr" + REASON, "ImagePredictr"),
        ("python", "from instructseg import Sample\nSample(fram=1)" + REASON, "fram"),
        ("yaml", "train: {max_step: 3}", "max_steps"),
    ],
)
def test_a_wrong_block_is_found(fence: str, text: str, expected: str, page_folder: Path) -> None:
    with pytest.raises(Exception, match=expected):
        run_block(Block(ROOT / "README.md", 1, "", fence, text), {})


def test_the_two_commands() -> None:
    blocks = [block for block in blocks_of(ROOT / "README.md", "bash") if block.heading == "Two commands"]
    install, check = (block.text for block in blocks)
    first = blocks_of(ROOT / "README.md", "bash")[0].text
    assert install.startswith(f"{first} && ")  # so what the first screen shows is run, too
    assert install == 'python -m pip install "torch==2.13.0" -e . && instructseg demo --output out --overwrite'
    assert check == 'python -m pip install "torch==2.13.0" -e ".[dev]" && python -m pytest'


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        path, _, anchor = "".join(target).partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {path} does not exist"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {path} has no heading #{anchor}"


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_named_files_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.py)`", text)
    ours = ("instructseg/", "model/", "tests/", "docs/", "demo/", "configs/", "recipes/", "perf/")
    for name in named:
        if name.startswith(ours) or name.endswith(".py"):
            assert (ROOT / name).exists() or (ROOT / "instructseg" / name).exists(), f"{page.name} names {name}"


OTHER_WORDS = re.compile(r"\b(pictures?|clips?|\w*(?:optimis|quantis|normalis)\w*)\b", re.IGNORECASE)
"""image, video, optimize, quantize, normalize: one word for one thing (``CONTRIBUTING.md``, Words)."""


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_one_vocabulary(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = r"^```.*?^```|^<!-- results.*?<!-- end -->|`[^`]*`|\]\([^)]*\)|\"[^\"\n]*\"|<https?:[^>]*>"
    prose = re.sub(code, "", text, flags=re.DOTALL | re.MULTILINE)
    assert not OTHER_WORDS.findall(prose)
