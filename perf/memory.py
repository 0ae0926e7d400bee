"""Memory of a stream against the number of its frames.

    OMP_NUM_THREADS=1 python -m perf.memory --json perf/results/memory.json

Each length runs in a process of its own, with frames that are drawn as they are asked for and results that are
not kept. The resident memory is read at the end of the stream, before it is closed, and at its peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.inference import VideoPredictor
from perf.workload import INSTRUCTIONS, build, configuration, save


def status(field: str) -> int:
    """A field of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def stream(frames: int, stride: int) -> dict[str, int]:
    """Runs ``frames`` frames and says what memory the process has."""
    torch.set_num_threads(1)
    session = VideoPredictor(*build(configuration("nano"))).session(llm_stride=stride)
    session.add(INSTRUCTIONS[0])
    rng = np.random.default_rng(0)
    for _ in range(frames):
        session.push(rng.integers(0, 256, (96, 128, 3), np.uint8))
    return {"frames": frames, "resident": status("VmRSS"), "peak": status("VmHWM"), "held": session.held}


def main() -> None:
    """Measures two lengths, each in a process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=(100, 2000))
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if len(options.frames) == 1:
        print(json.dumps(stream(options.frames[0], options.stride)))
        return
    rows: list[dict[str, Any]] = []
    for frames in options.frames:
        command = ["-m", "perf.memory", "--frames", str(frames), "--stride", str(options.stride)]
        printed = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
        print(rows[-1], flush=True)
    growth = {name: rows[-1][name] / rows[0][name] for name in ("resident", "peak")}
    save(options.json, {"stride": options.stride, "rows": rows, "growth": growth})


if __name__ == "__main__":
    main()
