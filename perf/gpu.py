"""The released size on one GPU, with random weights made there: speed, memory, and parity of bfloat16.

    python -m perf.gpu --minutes 1.5 --output gpu.json

The most valuable figures come first. A section that does not fit in the minutes left is named as left out; the
file is written after each one. ``--tiny`` is a trial of the same program on a CPU. Times are wall seconds from
the start of a call to the end of its work on the device, medians. The official procedure runs beside ours with
the same weights; for its sampling it uses ``grid_sample``, its own fallback, not its CUDA kernel.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from instructseg.files import write_json_atomic
from perf.device import Device, process_seconds
from perf.gpu_sections import SECTIONS, Bench
from perf.workload import build, configuration, machine, pictures

_UNITS = {"ms": ".2f", "fps": ".2f", "official_ms": ".1f", "ratio": ".2f", "peak_gib": ".2f", "share": ".1%"}


class OutOfTime(Exception):
    """The minutes are over."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises :class:`OutOfTime` in the block after so many seconds."""

    def stop(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def bench(device: str, tiny: bool) -> Bench:
    """The model in bfloat16 on ``device``, and a video to segment."""
    model, processor = build(configuration("nano" if tiny else "full"), device=device, dtype=torch.bfloat16)
    model.requires_grad_(False)
    frames = pictures(8, 96, 128) if tiny else pictures(24, 480, 640)
    return Bench(Device(device, 1 if tiny else 5), model, processor, frames, tiny)


def run(made: Bench, names: Sequence[str], limit: float, result: dict[str, Any], output: Path | None) -> None:
    """Runs sections in order; each gets an entry of ``result["sections"]``, which is written after each.

    Args:
        made: what is measured.
        names: of :data:`SECTIONS`.
        limit: seconds since the process began, at which the last section is stopped.
        result: receives rows, errors and what was left out.
        output: the file.
    """
    for name in names:
        section, estimate = SECTIONS[name]
        left, entry = limit - process_seconds(), {"rows": [], "began_s": process_seconds()}
        result["sections"][name] = entry
        if left < estimate:
            entry["left_out"] = f"needs about {estimate:.0f} s, {left:.0f} s are left"
            continue
        try:
            with at_most(left):
                for row in section(made):
                    entry["rows"].append(row)
        except OutOfTime:
            entry["stopped"] = "the minutes were over"
        except Exception as error:  # noqa: BLE001  (one section must not cost the others)
            entry["error"] = f"{type(error).__name__}: {error}"
        entry["ended_s"] = process_seconds()
        if made.device.cuda:
            torch.cuda.empty_cache()
        if output is not None:
            write_json_atomic(output, result, indent=2)


def table(result: dict[str, Any]) -> str:
    """All rows, a line each, and what went wrong or was left out."""
    lines = []
    for name, entry in result["sections"].items():
        note = "".join(f"  {key}: {entry[key]}" for key in ("left_out", "stopped", "error") if key in entry)
        lines.append(f"{name}{note[:300]}")
        for row in entry["rows"]:
            shown = (f"{key} {value:{_UNITS.get(key, '.4g')}}" for key, value in row.items() if key != "case")
            lines.append(f"  {row.get('case', ''):42s} {'  '.join(shown)}")
    return "\n".join(lines)


def main() -> None:
    """Measures what fits in the minutes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8, help="of the whole process, imports included")
    parser.add_argument("--device", help="default: cuda, or cpu with --tiny")
    parser.add_argument("--tiny", action="store_true", help="a trial with a small model")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--output", type=Path, help="a JSON file")
    options = parser.parse_args()
    made = bench(options.device or ("cpu" if options.tiny else "cuda"), options.tiny)
    parameters = sum(one.numel() for one in made.model.parameters())
    used = {**machine(), **made.device.described()}
    result = {"machine": used, "parameters": parameters, "tiny": options.tiny, "sections": {}}
    run(made, options.sections, 60 * options.minutes, result, options.output)
    print(table(result))
    print(
        f"{result['machine']['device']}, {parameters / 1e9:.2f}e9 parameters, {process_seconds():.0f} s in all"
    )


if __name__ == "__main__":
    main()
