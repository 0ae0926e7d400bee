"""What ``--max-memory`` expects against what is used at the peak.

    OMP_NUM_THREADS=1 python -m benchmarks.limits --json benchmarks/results/limits.json

Each case runs in a process of its own: a random model answers on a picture or on a clip of nine frames, all of
480 x 640 pixels. The expectation is that of the plan before the model is made; the peak is of resident memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.memory import status
from benchmarks.workload import INSTRUCTIONS, build, configuration, pictures, save
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.inference.memory import gaining_chunk, plan_memory

CASES = (("nano", 9, 1), ("nano", 9, 10), ("width", 1, 1), ("width", 1, 3))
"""Size of the model, frames, and instructions."""
_SIZE = (480, 640)


def measure(size: str, frames: int, instructions: int) -> dict[str, Any]:
    """One case, in this process."""
    torch.set_num_threads(1)
    config = configuration(size)
    chunk = gaining_chunk(config, torch.device("cpu")) if frames > 1 else 1
    plan = plan_memory(config, "1000GB", frame_size=_SIZE, instructions=instructions, chunk=chunk)
    model, processor = build(config)
    shown, texts = pictures(frames, *_SIZE), INSTRUCTIONS[:instructions]
    if frames == 1:
        ImagePredictor(model, processor).segment(shown[0], texts)
    else:
        for _ in VideoPredictor(model, processor).predict(shown, texts):
            pass
    weights = sum(plan.weights.values())
    case = {
        "size": size,
        "frames": frames,
        "instructions": instructions,
        "chunk": plan.chunk,
        "weights": weights,
    }
    return {**case, "expected": plan.expected, "peak": status("VmHWM")}


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
        command = [sys.executable, "-m", "benchmarks.limits", "--case", str(number)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(printed.splitlines()[-1]))
        print(rows[-1], flush=True)
    save(options.json, {"rows": rows})


if __name__ == "__main__":
    main()
