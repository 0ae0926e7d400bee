"""What README and docs show: fenced blocks, the commands in them, and why some are not run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = re.compile(r"# not run by the tests: (\S.*)")
"""In a block, where a reader sees it too."""
LAUNCHERS = ("torchrun", "accelerate", "srun")
A_CLONE = re.compile(r"#.*\bclone\b")
"""In a block whose commands need a clone of the repository."""
IN_A_CLONE = (ROOT / "instructseg").is_dir()
"""Whether the tests run in one; ``tests/test_wheel.py`` runs them beside the installed wheel."""
OF_A_CLONE = re.compile(
    r"\b(?:train_net\.py|(?:demo|docker|recipes|perf|tests)[/.]\w|git clone|-m build)|-e \W*\.|instructseg/\w"
)
"""What only a clone has."""


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

    @property
    def reason(self) -> str:
        """Why the tests do not run it; empty where they do."""
        match = NOT_RUN.search(self.text)
        return match[1] if match else ""

    @property
    def says_clone(self) -> bool:
        """Whether it says that it needs a clone."""
        return bool(A_CLONE.search(self.text))

    @property
    def needs_clone(self) -> bool:
        """Whether it names what only a clone has."""
        return bool(OF_A_CLONE.search(NOT_RUN.sub("", self.text)))


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


def of_this_project(words: list[str]) -> list[str]:
    """A command without what starts it: ``image ...``, ``-m recipes.nano.train ...``, ``train_net.py ...``.

    Empty for commands of other programs.
    """
    if words[0] == "instructseg":
        return words[1:]
    if words[:2] == ["python", "-m"] and words[2].startswith(("recipes.", "perf.")):
        return words[1:]
    if "instructseg" in words and words[words.index("instructseg") - 1] == "-m":
        return words[words.index("instructseg") + 1 :]
    script = next((word for word in words if word.endswith(".py")), None)
    if script and words[0] in ("python", *LAUNCHERS):
        return words[words.index(script) :]
    return []
