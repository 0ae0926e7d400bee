"""The clients on the page of the service run as they are printed, against the command that it starts with."""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.forked import Program
from tests.page_inputs import FRAMES, page_folder, page_inputs
from tests.pages import ROOT, Block, blocks_of

__all__ = ["page_folder", "page_inputs"]
PAGE = ROOT / "docs" / "service.md"
BLOCKS = blocks_of(PAGE, "bash", "python", "javascript")
SERVER, CLIENTS = BLOCKS[0], BLOCKS[1:]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def port(page_folder: Path) -> Iterator[int]:
    number = free_port()
    words = shlex.split(SERVER.text.replace("8000", str(number)))
    assert words[:2] == ["instructseg", "serve"]
    server = Program(page_folder, "-m", *words)
    for _ in range(600):
        try:
            if httpx.get(f"http://localhost:{number}/ready").status_code == 200:
                break
        except httpx.TransportError:
            assert server.process.is_alive(), server.ended()
        time.sleep(0.1)
    yield number
    server.process.terminate()
    code, _, said = server.ended(30)
    assert "Traceback" not in said and code in (0, -signal.SIGTERM), said


def run(block: Block, port: int) -> str:
    """What a client prints."""
    text = block.text.replace("8000", str(port))
    match block.fence:
        case "bash":
            command = ["bash", "-euc", text]
        case "python":
            command = [sys.executable, "-c", text]
        case _:
            Path("client.mjs").write_text(text)
            command = ["node", "client.mjs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    return done.stdout


def test_every_client_runs_as_printed(port: int) -> None:
    assert {block.fence for block in CLIENTS} == {"bash", "python", "javascript"}
    said = {}
    for block in CLIENTS:
        if not shutil.which("curl" if block.fence == "bash" else "node") and block.fence != "python":
            continue
        said[block.fence, block.heading] = run(block, port)
    assert "the truck" in said["python", "Images"] and f"frame {FRAMES - 1}" in said["python", "Videos"]
    assert said["python", "Videos"].splitlines()[-1].startswith("end")
    if shutil.which("curl"):
        assert '"found":true' in said["bash", "Images"] and Path("mask.png").read_bytes()[:4] == b"\x89PNG"
        assert said["bash", "Videos"].count("event: frame") == FRAMES
    if shutil.which("node"):
        assert "the truck" in said["javascript", "Images"]
        frames = [word for number in range(FRAMES) for word in ("frame", str(number))]
        assert said["javascript", "Videos"].split() == ["start", "undefined", *frames, "end", "undefined"]
