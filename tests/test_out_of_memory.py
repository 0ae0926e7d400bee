"""Errors of memory: real ones of the CPU are known, and the message says what was asked and what fits."""

from __future__ import annotations

import pytest
import torch

from instructseg import out_of_memory
from instructseg.out_of_memory import explain_out_of_memory, free_memory, gib, is_out_of_memory

CPU = torch.device("cpu")


def test_a_real_one() -> None:
    with (
        pytest.raises(torch.cuda.OutOfMemoryError) as caught,
        explain_out_of_memory("loading", "take less", CPU),
    ):
        torch.empty(10**15)
    text = str(caught.value)
    assert text.startswith("out of memory loading (") and text.endswith(": take less")
    assert "3725290.30 GiB more requested" in text
    assert isinstance(caught.value, RuntimeError)


def test_errors_that_count_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(RuntimeError("MPS backend out of memory"))
    assert is_out_of_memory(RuntimeError("not enough memory: you tried to allocate 12 bytes."))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match=r"^shape$"), explain_out_of_memory("loading", "take less", CPU):
        raise RuntimeError("shape")


def test_a_size_of_the_gpu_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_memory, "free_memory", lambda device: 3 * 2**30)
    error = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has 9 GiB")
    told = str(out_of_memory.out_of_memory_error(error, "on one", "take less", CPU))
    assert told == "out of memory on one (1.50 GiB more requested, 3.00 GiB free on cpu): take less"
    assert str(out_of_memory.out_of_memory_error(MemoryError(), "here", "x", CPU)).count("requested") == 0


def test_memory_that_caches_files_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "MemTotal: 9 kB\nMemFree:  1 kB\nMemAvailable:   7 kB\n"
    monkeypatch.setattr(out_of_memory.Path, "read_text", lambda *_, **__: told)
    assert free_memory(torch.device("cpu")) == 7 * 1024
    monkeypatch.setattr(out_of_memory.Path, "read_text", lambda *_, **__: "MemTotal: 9 kB")
    free = free_memory(torch.device("cpu"))
    assert free is None or free > 7 * 1024


def test_sizes() -> None:
    assert [gib(n) for n in (12, 2048, 3 * 2**20, 2**31)] == ["12 bytes", "2.0 KiB", "3.0 MiB", "2.00 GiB"]
    free = free_memory(CPU)
    assert free is None or free > 0
    assert free_memory(torch.device("meta")) is None
