"""Devices and dtypes by name."""

from __future__ import annotations

import pytest
import torch

from instructseg import devices


def test_auto_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert devices.fastest_dtype(torch.device("cuda")) == expected
    assert devices.fastest_dtype(torch.device("mps")) == torch.float32
    assert devices._layer_seconds(torch.bfloat16, 64) > 0
    assert isinstance(devices._native_bfloat16(), bool)
