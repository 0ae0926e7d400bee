"""Counters of a server, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

NAMES = {
    "requests_total": "Requests by path and status.",
    "request_seconds_total": "Seconds spent on requests, by path.",
    "batches_total": "Batches of image requests.",
    "batched_requests_total": "Image requests in these batches.",
    "frames_total": "Frames of videos.",
}
"""Every counter, with its description."""


class Counters:
    """Counters by name and labels; threads may share them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, labels: str = "", value: float = 1) -> None:
        """Adds to a counter of :data:`NAMES`; ``labels`` as ``path="/x",status="200"``."""
        assert name in NAMES
        with self._lock:
            self._values[name, labels] += value  # type: ignore[assignment]  # seconds are no whole numbers

    def value(self, name: str) -> float:
        """Sum of a counter over its labels."""
        with self._lock:
            return sum(value for (one, _), value in self._values.items() if one == name)

    def text(self, **gauges: float) -> str:
        """All counters, and gauges of this moment."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for name, description in NAMES.items():
            lines += [f"# HELP instructseg_{name} {description}", f"# TYPE instructseg_{name} counter"]
            found = [(labels, value) for (one, labels), value in values if one == name] or [("", 0)]
            lines += [
                f"instructseg_{name}{f'{{{labels}}}' if labels else ''} {value:.12g}" for labels, value in found
            ]
        for name, value in gauges.items():
            lines += [f"# TYPE instructseg_{name} gauge", f"instructseg_{name} {value:.12g}"]
        return "\n".join(lines) + "\n"
