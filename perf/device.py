"""A clock, peak memory and matrix rates of one device, whose calls return before their work is done."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Case = Callable[[], Any]


class Device:
    """Times calls on a device.

    Args:
        name: as torch names it.
        repeats: calls that are timed of each case.

    Attributes:
        rate: measured bfloat16 matrix rate in TFLOP/s, by :meth:`measure_rates`; 0 before.
    """

    def __init__(self, name: torch.device | str, repeats: int = 5) -> None:
        self.device, self.repeats, self.rate = torch.device(name), repeats, 0.0
        self.cuda = self.device.type == "cuda"

    def wait(self) -> None:
        """Returns when all work is done."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, case: Case, repeats: int | None = None, warm: int = 1) -> float:
        """Median wall seconds of a call, from its start to the end of its work."""
        taken = []
        for turn in range(warm + (repeats or self.repeats)):
            self.wait()
            start = time.perf_counter()
            case()
            self.wait()
            if turn >= warm:
                taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def peak(self, case: Case) -> float:
        """Largest memory that tensors take during a call, in GiB; 0 on a CPU."""
        if not self.cuda:
            case()
            return 0.0
        torch.cuda.reset_peak_memory_stats(self.device)
        case()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) / 2**30

    def measured(self, case: Case, count: int = 1) -> dict[str, float]:
        """Time per item, arithmetic of products, convolutions and attention, and its share of ``rate``.

        Args:
            case: what is called.
            count: items that one call does.
        """
        with FlopCounterMode(display=False) as flops:
            peak = self.peak(case)
        spent = self.seconds(case)
        tera = flops.get_total_flops() / 1e12
        share = tera / spent / self.rate if self.rate else 0.0
        return {"ms": 1e3 * spent / count, "tflop": tera / count, "share": share, "peak_gib": peak}

    def measure_rates(self, side: int) -> dict[str, float]:
        """TFLOP/s of square products on random numbers, by type, and GB/s of a copy (read and written)."""
        found = {}
        for name, dtype, allowed in (
            ("bfloat16", torch.bfloat16, False),
            ("float32", torch.float32, False),
            ("tf32", torch.float32, True),
        ):
            a, b = (torch.randn(side, side, device=self.device).to(dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = allowed
            # as a layer has its weights; the other order is a plain loop on a CPU without bfloat16
            spent = self.seconds(lambda: torch.mm(a, b.T), warm=3)  # noqa: B023  (called at once)
            found[name] = 2 * side**3 / spent / 1e12
        torch.backends.cuda.matmul.allow_tf32 = False
        large = torch.empty(8 * side * side, device=self.device)
        target = torch.empty_like(large)
        found["copy_gb"] = 2 * large.nbytes / self.seconds(lambda: target.copy_(large)) / 1e9
        self.rate = found["bfloat16"]
        return found

    def described(self) -> dict[str, Any]:
        """What the figures depend on."""
        if not self.cuda:
            return {"device": str(self.device)}
        card = torch.cuda.get_device_properties(self.device)
        return {"device": card.name, "memory_gib": card.total_memory / 2**30, "cuda": torch.version.cuda}


def process_seconds() -> float:
    """Seconds since this process began, imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100
