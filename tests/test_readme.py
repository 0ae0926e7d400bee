"""What README and docs show, runs.

* Of every ``instructseg`` command and every script of this repository, the subcommand and the options exist.
* The README's ``instructseg`` commands are run on a small picture and clip, unless they name published weights.
* The Python blocks of a page are run in order, in one namespace, with the bundled model. A block whose fence
  says ``python no-run`` needs what a test does not have.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.media import VideoWriter, save_image
from recipes.nano.demo import demo_clip

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, what its fence says, what is in it."""

    page: Path
    line: int
    heading: str
    fence: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path, *fences: str) -> list[Block]:
    """The fenced blocks of a page whose fence is one of ``fences``."""
    found: list[Block] = []
    lines: list[str] = []
    heading, fence, start = "", None, 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if fence is None and (match := re.match(r"#+ (.*)", line)):
            heading = match.group(1)
        elif fence is None and line.startswith("```"):
            fence, start, lines = line[3:].strip(), number, []
        elif fence is not None and line == "```":
            if fence in fences:
                found.append(Block(page, start, heading, fence, "\n".join(lines)))
            fence = None
        elif fence is not None:
            lines.append(line)
    assert fence is None, f"{page.name}:{start}: the fence is not closed"
    return found


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a bash block, environment assignments left out."""
    text = block.text.replace("\\\n", " ")
    commands = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((i for i, word in enumerate(words) if word in ("&&", "||", "|", ";")), len(words))
            command, words = words[:end], words[end + 1 :]
            while command and re.fullmatch(r"\w+=.*", command[0]):
                command = command[1:]
            commands.append(command)
    return [command for command in commands if command]


def our_commands() -> list[Any]:
    """Every shown command of this project, as parameters of a test."""
    found = []
    for page in PAGES:
        for block in blocks_of(page, "bash"):
            for words in commands_of(block):
                script = next((word for word in words if word.endswith(".py")), None)
                if words[0] == "instructseg" or (
                    words[:2] == ["python", "-m"] and words[2].startswith("recipes.")
                ):
                    found.append(pytest.param(words[1:], id=f"{block} {shlex.join(words)}"))
                elif script:
                    found.append(pytest.param(words[words.index(script) :], id=f"{block} {shlex.join(words)}"))
    return found


@cache
def options_of(*script: str) -> str:
    """What ``script --help`` prints."""
    result = subprocess.run(
        [sys.executable, *script, "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def problem(words: list[str]) -> str | None:
    """What is wrong with a command, given without ``instructseg`` or the interpreter in front of it."""
    module, words = (words[:2], words[2:]) if words[:1] == ["-m"] else ([], words)
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    if module:
        text = options_of(*module)
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
        if hasattr(command, "commands") and not set(words) <= {"--help", "--version"}:
            return f"no such command: {shlex.join(words)}"
        known = {option for entry in command.params for option in (*entry.opts, *entry.secondary_opts)}
        unknown = used - known - {"--help"}
    return f"no such option: {', '.join(sorted(unknown))}" if unknown else None


@pytest.mark.parametrize("words", our_commands())
def test_a_shown_command_is_valid(words: list[str]) -> None:
    assert problem(words) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imag photo.jpg", "no such command"),
        ("convert oficial a b", "no such command"),
        ("image photo.jpg cat --modle x", "no such option: --modle"),
        ("train_net.py --config x", "no such option: --config"),
        ("-m recipes.nano.layouts copies --olny refcoco", "no such option: --olny"),
        ("demo/nothing.py", "demo/nothing.py does not exist"),
    ],
)
def test_a_wrong_command_is_found(text: str, expected: str) -> None:
    assert (problem(shlex.split(text)) or "").startswith(expected)


def test_the_two_commands() -> None:
    blocks = [block for block in blocks_of(ROOT / "README.md", "bash") if block.heading == "Two commands"]
    install, check = (block.text for block in blocks)
    assert install == 'python -m pip install "torch==2.13.0" -e . && instructseg demo --output out --overwrite'
    assert check == 'python -m pip install "torch==2.13.0" -e ".[dev]" && python -m pytest'


def readme_commands() -> list[Any]:
    """The README's commands that need nothing but the bundled model."""
    found = []
    for block in blocks_of(ROOT / "README.md", "bash"):
        for words in commands_of(block):
            if words[0] == "instructseg" and not any(word.startswith("--model") for word in words):
                found.append(pytest.param(words[1:], id=shlex.join(words)))
    return found


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``photo.jpg`` and ``clip.mp4``, which is the working directory."""
    frames, fps, _ = demo_clip(6)
    save_image(tmp_path / "photo.jpg", frames[0])
    with VideoWriter(tmp_path / "clip.mp4", fps, frames.shape[1:3]) as writer:
        for frame in frames:
            writer.write(frame)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", readme_commands())
def test_a_readme_command_runs(words: list[str], workspace: Path) -> None:
    before = set(workspace.rglob("*"))
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert set(workspace.rglob("*")) - before, "the command wrote nothing"


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.name) for page in PAGES if blocks_of(page, "python")]
)
def test_the_python_of_a_page_runs(page: Path, workspace: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page, "python"):
        exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)


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
