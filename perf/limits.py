"""What ``--max-memory`` expects against what is used at the peak.

    OMP_NUM_THREADS=1 python -m perf.limits --json perf/results/limits.json

Each case runs in a process of its own: a random model answers on a picture or on a clip at 6 or 30 frames per
second, whose frames are made as they are read, all of 480 x 640 pixels. The expectation is that of the plan
before the model is made; the peak is of resident memory: the largest of three runs, and that of one in which
the C library hands large blocks back at once (``MALLOC_MMAP_THRESHOLD_``); else it keeps what was freed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.inference.frame_window import spacing_of
from instructseg.inference.memory import Workload, gaining_chunk, plan_memory
from perf.memory import status
from perf.workload import INSTRUCTIONS, build, configuration, pictures, save

CASES = (
    ("nano", 9, 6, 1),
    ("nano", 9, 6, 10),
    ("nano", 60, 30, 1),
    ("nano", 60, 30, 10),
    ("width", 1, 0, 1),
    ("width", 1, 0, 3),
)
"""Size of the model, frames, frames per second, and instructions."""
_SIZE = (480, 640)
_RUNS = 3
_HANDED_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


def measure(size: str, frames: int, fps: int, instructions: int) -> dict[str, Any]:
    """One case, in this process."""
    torch.set_num_threads(1)
    config = configuration(size)
    chunk = gaining_chunk(config, torch.device("cpu")) if frames > 1 else 1
    spacing = spacing_of(fps, frames) if frames > 1 else 0
    plan = plan_memory(config, "1000GB", "cpu", Workload(_SIZE, instructions), chunk=chunk, spacing=spacing)
    model, processor = build(config)
    picture, texts = pictures(1, *_SIZE)[0], INSTRUCTIONS[:instructions]
    if frames == 1:
        ImagePredictor(model, processor).predict(picture, texts)
    else:
        moving = (np.roll(picture, 4 * t, axis=1) for t in range(frames))
        for _ in VideoPredictor(model, processor).predict(moving, texts, spacing=spacing, chunk=chunk):
            pass
    weights = sum(plan.weights.values())
    case = {
        "size": size,
        "frames": frames,
        "fps": fps,
        "instructions": instructions,
        "chunk": plan.chunk,
        "weights": weights,
    }
    return {**case, "expected": plan.expected, "peak": status("VmHWM")}


def _run(command: list[str], settings: dict[str, str]) -> dict[str, Any]:
    """A case in a process with these variables of the environment."""
    environment = {**os.environ, **settings}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    case: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return case


def main() -> None:
    """Measures each case in a process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", type=int, help="one case, by number, in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.case is not None:
        print(json.dumps(measure(*CASES[options.case])))
        return
    rows: list[dict[str, Any]] = []
    for number in range(len(CASES)):
        command = [sys.executable, "-m", "perf.limits", "--case", str(number)]
        runs = [_run(command, {}) for _ in range(_RUNS)]
        row = max(runs, key=lambda run: run["peak"])
        rows.append({**row, "handed_back": _run(command, _HANDED_BACK)["peak"]})
        print(rows[-1], flush=True)
    save(options.json, {"rows": rows})


if __name__ == "__main__":
    main()
