"""Many inputs over processes; two local workers of Ray, killed once in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.jobs.batch import BatchWorker
from instructseg.jobs.job import Job
from tests.cli.conftest import LENGTH, bundled, checkpoint, clip_frames, nano, workspace
from tests.forked import run_by_torchrun

__all__ = ["bundled", "checkpoint", "clip_frames", "nano", "workspace"]
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("workspace")


def inputs(count: int) -> None:
    """``photos``, half of it in a shard, one broken."""
    Path("photos").mkdir()
    for i in range(count):
        Image.new("RGB", (24, 16), (9 * i % 255, 30, 90)).save(f"photos/{i:03d}.png")
    Path("photos/broken.png").write_bytes(b"none")
    with tarfile.open("photos/half.tar", "w") as archive:
        for i in range(count // 2):
            archive.add(f"photos/{i:03d}.png", f"member/{i:03d}.png")
            Path(f"photos/{i:03d}.png").unlink()


def test_images_videos_and_shards_in_one_process() -> None:
    inputs(4)
    words = ["batch", "photos", "clip.mp4", "the star", "-f", "rle,coco", "--llm-stride", "2"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 1 and "1 of 6 inputs failed, the others are done" in found.output, found.output
    names = {str(path.relative_to("out")) for path in Path("out").rglob("*.json")}
    wanted = {
        f"{name}{suffix}"
        for name in ("002", "003", "clip", "member/000", "member/001")
        for suffix in (".json", "_coco.json")
    }
    assert names == {*wanted, "coco.json"}
    assert len(COCO("out/coco.json").getImgIds()) == 4 + LENGTH
    again = CliRunner().invoke(app, words)
    assert "1 of 1 inputs failed" in again.output and "4 of 5 are done already" in again.output
    refused = CliRunner().invoke(app, ["batch", "https://x.org/a.png", "the star"])
    assert refused.exit_code == 2 and "a batch reads files that all processes reach" in refused.output


def test_a_worker_keeps_its_system() -> None:
    worker = BatchWorker(["the star"], Job(output=Path("out"), formats=("rle",)))
    row = {"kind": "image", "path": "photo.png", "name": "photo", "source": "", "prompts": [], "place": None}
    (text,) = worker({"item": [json.dumps(row)]})["summary"]
    assert json.loads(text)["frames"] == 1 and Path("out/photo.json").is_file()
    system = worker.systems.image
    assert (
        system is not None
        and worker({"item": [json.dumps({**row, "name": "again"})]})
        and worker.systems.image is system
    )
    assert {one.name for one in fields(Job)} >= {"output", "formats"}


def test_shares_of_torchrun(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    inputs(6)
    words = ["batch", "photos", "the star", "-f", "rle,csv", "--model", str(checkpoint)]
    code, ended = run_by_torchrun(tmp_path_factory.mktemp("printed"), "-m", "instructseg", *words)
    assert code == 1 and any("inputs failed, the others are done" in err for _, err in ended), ended
    assert len(list(Path("out").rglob("*.json"))) == 6
    assert len(Path("out/boxes.csv").read_text().splitlines()) == 7


@pytest.mark.slow
def test_two_workers_of_ray_killed_once(checkpoint: Path) -> None:
    pytest.importorskip("ray")
    inputs(60)
    command = [sys.executable, "-m", "instructseg", "batch", "photos", "the star", "-f", "rle,coco"]
    command += ["--model", str(checkpoint), "--ray", "local", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 240
    while len(list(Path("out").rglob("*.json"))) < 20 and first.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(5)  # the workers of Ray notice, and end
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*_coco.json")}
    assert 0 < len(before) < 60 and not Path("out/coco.json").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert second.returncode == 1 and "inputs failed, the others are done" in second.stderr, second.stderr
    assert len(COCO("out/coco.json").getImgIds()) == 60
    assert sum(path.stat().st_mtime_ns == when for path, when in before.items()) >= len(before) - 2
