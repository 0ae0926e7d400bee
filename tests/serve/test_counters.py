"""Counters are written as Prometheus reads them."""

from __future__ import annotations

import re
import threading

from instructseg.serve.counters import NAMES, Counters

LINE = re.compile(r'instructseg_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+')


def test_every_line_is_a_comment_or_a_sample() -> None:
    counters = Counters()
    counters.add("requests_total", 'path="/x",status="200"')
    counters.add("request_seconds_total", 'path="/x"', 0.25)
    lines = counters.text(waiting=3).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in samples)
    assert 'instructseg_requests_total{path="/x",status="200"} 1' in samples
    assert 'instructseg_request_seconds_total{path="/x"} 0.25' in samples and "instructseg_waiting 3" in samples
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == {
        *(f"instructseg_{name}" for name in NAMES),
        "instructseg_waiting",
    }


def test_threads_lose_nothing() -> None:
    counters = Counters()
    threads = [
        threading.Thread(target=lambda: [counters.add("frames_total") for _ in range(2000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.value("frames_total") == 8000
    assert "instructseg_frames_total 8000" in counters.text()
