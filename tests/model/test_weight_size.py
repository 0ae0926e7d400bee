"""What is said of weights that do not fit, against their sizes counted one by one."""

from __future__ import annotations

import torch

from instructseg.model import preset
from instructseg.model.weight_size import choices, in_words, weight_bytes, weights_advice
from instructseg.out_of_memory import gib

BFLOAT16 = torch.bfloat16


def size(dtype: torch.dtype, quantize: str | None) -> int:
    return sum(weight_bytes(preset("nano"), dtype, quantize).values())


def test_the_most_exact_that_fits_is_advised() -> None:
    config, asked = preset("nano"), size(torch.float32, None)
    for setting in ((BFLOAT16, None), (BFLOAT16, "int8"), (BFLOAT16, "int4")):
        needed = size(*setting)
        found = weights_advice(config, torch.float32, None, needed + 1)
        assert found == (asked, f"as {in_words(*setting)} they take {gib(needed)} and fit")
    assert weights_advice(config, torch.float32, None, None)[1].startswith("as bfloat16 they take")


def test_the_smallest_setting_is_named_if_none_fits() -> None:
    config = preset("nano")
    _, told = weights_advice(config, torch.float32, None, 1000)
    assert told.startswith(
        f"as bfloat16 with int4 they take {gib(size(BFLOAT16, 'int4'))} and still do not fit"
    )
    assert "smaller model" in told
    least = weights_advice(config, BFLOAT16, "int4", 1000)
    assert least == (size(BFLOAT16, "int4"), "choose another device, or a smaller model")


def test_settings_by_device_and_model() -> None:
    config = preset("nano")
    assert [in_words(*one) for one in choices(config, cpu=True)] == [
        "float32", "bfloat16", "float32 with int8", "bfloat16 with int8", "bfloat16 with int4",
    ]  # fmt: skip
    assert (torch.float32, None) not in choices(config, cpu=False)
    stored = preset("nano")
    stored.quantize = "int8"
    assert {quantize for _, quantize in choices(stored, cpu=True)} == {"int8"}
    assert choices(config, True, BFLOAT16) == [(BFLOAT16, None), (BFLOAT16, "int8"), (BFLOAT16, "int4")]
