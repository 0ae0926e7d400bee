"""How long the program takes to start, and a checkpoint to load.

    OMP_NUM_THREADS=1 python -m perf.startup --json perf/results/startup.json

``--help`` and imports run in processes of their own: wall seconds and processor seconds, medians. The
checkpoint is a random model that is written to a temporary folder. Reading its file (into memory, in pieces,
from the system's cache) and ``from_pretrained`` take turns, each in a process of its own; the peak is that of
the process less what it had before loading.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from perf.workload import build, configuration, save

_READ = """
import json, sys, time
start = time.process_time(), time.perf_counter()
size = 0
held = []
with open(sys.argv[1], "rb", buffering=0) as file:
    while block := file.read(1 << 24):
        held.append(block)
        size += len(block)
print(json.dumps([time.process_time() - start[0], time.perf_counter() - start[1], size]))
"""
_LOAD = """
import json, resource, sys, time
from pathlib import Path
import torch
from instructseg.pretrained import from_pretrained
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
torch.set_num_threads(1)
before = peak()
start = time.process_time(), time.perf_counter()
model = from_pretrained(sys.argv[1])
spent = time.process_time() - start[0], time.perf_counter() - start[1]
print(json.dumps([*spent, peak() - before]))
"""


def child(command: list[str]) -> tuple[float, float, str]:
    """Wall and processor seconds of a process, and what it printed."""
    used, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    printed = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, printed


def starts(repeats: int) -> dict[str, dict[str, float]]:
    """The empty interpreter, imports and ``--help``."""
    commands = {
        "python": ["-c", "pass"],
        "import instructseg": ["-c", "import instructseg"],
        "instructseg --help": ["-m", "instructseg", "--help"],
        "import instructseg.inference": ["-c", "import instructseg.inference"],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(repeats + 1):
        for name, command in commands.items():
            wall, processor, _ = child(command)
            if turn:
                taken[name].append((wall, processor))
    return {
        name: {
            "wall_s": statistics.median(wall for wall, _ in values),
            "wall_min_s": min(wall for wall, _ in values),
            "processor_s": statistics.median(processor for _, processor in values),
        }
        for name, values in taken.items()
    }


def loading(size: str, repeats: int) -> dict[str, Any]:
    """Reading a checkpoint's file against loading it."""
    with tempfile.TemporaryDirectory() as folder:
        model, _ = build(configuration(size))
        model.save_pretrained(folder, max_shard_size="100GB")
        del model
        file = str(Path(folder) / "model.safetensors")
        runs: dict[str, list[list[float]]] = {"read": [], "load": []}
        for _ in range(repeats):
            runs["read"].append(json.loads(child(["-c", _READ, file])[2]))
            runs["load"].append(json.loads(child(["-c", _LOAD, folder])[2].splitlines()[-1]))
    read, load = ([statistics.median(column) for column in zip(*runs[name], strict=True)] for name in runs)
    return {
        "size": size,
        "bytes": int(read[2]),
        "read_processor_s": read[0],
        "read_wall_s": read[1],
        "load_processor_s": load[0],
        "load_wall_s": load[1],
        "time_ratio": load[0] / read[0],
        "peak_ratio": load[2] / read[2],
    }


def main() -> None:
    """Measures starting and loading."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", choices=("nano", "width", "full"), default="width", help="of the checkpoint")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    values = {"starts": starts(options.repeats), "loading": loading(options.size, options.repeats)}
    save(options.json, {"repeats": options.repeats, **values})


if __name__ == "__main__":
    main()
