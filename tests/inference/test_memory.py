"""The memory plan against what models really hold."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from instructseg.inference import ImagePredictor, VideoPredictor, memory
from instructseg.inference.memory import (
    Workload,
    activation_bytes,
    frame_bytes,
    parse_size,
    plan_memory,
    resident_memory,
)
from instructseg.inference.propagation.propagation import LOOKAHEAD
from instructseg.inference.propagation.tracker_names import tracker_memory
from instructseg.model import InstructSeg, preset
from instructseg.model.quantized import quantize_model
from instructseg.model.weight_size import weight_bytes
from instructseg.pretrained import from_pretrained
from tests.inference.conftest import SHALLOW


@pytest.mark.parametrize("quantize", [None, "int8", "int4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_are_counted_exactly(dtype: torch.dtype, quantize: str | None, checkpoint: Path) -> None:
    model = from_pretrained(checkpoint, dtype=dtype, quantize=quantize)
    held: dict[str, int] = {}
    for name, tensor in model.state_dict().items():
        part = name.partition(".")[0]
        held[part] = held.get(part, 0) + tensor.nbytes
    assert weight_bytes(preset("nano", **SHALLOW), dtype, quantize) == held


def test_the_published_model_is_as_large_as_its_parameters() -> None:
    sizes = {
        kind: sum(weight_bytes(preset("instructseg-3b"), torch.bfloat16, kind).values())
        for kind in (None, "int8", "int4")
    }
    blocks = 32 * (4 * 2560**2 + 2 * 2560 * 10240)
    scales = 32 * (4 * 2560 + 10240 + 2560) * 2
    assert sizes[None] - sizes["int8"] == blocks - scales
    assert sizes[None] - sizes["int4"] == blocks * 2 - blocks // 2 - blocks // 32 * 2


def test_activations_grow_with_their_dimensions() -> None:
    config = preset("nano")
    one = activation_bytes(config, torch.float32, 1)
    two = activation_bytes(config, torch.float32, 2)
    half = activation_bytes(config, torch.bfloat16, 1)
    assert two["language model"] > one["language model"] > half["language model"]
    assert one["pixel decoder"] <= two["pixel decoder"]
    assert activation_bytes(config, torch.float32, 1, (2160, 3840))["masks"] > one["masks"]


def test_the_most_exact_that_fits_is_chosen(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "resident_memory", lambda: 500 << 20)  # other tests may have left more behind
    config = preset("instructseg-3b")
    with caplog.at_level(logging.INFO, logger="instructseg"):
        chosen = {limit: plan_memory(config, limit) for limit in ("64GB", "14GB", "9GB", "6GB")}
    kinds = [(str(plan.dtype), plan.quantize) for plan in chosen.values()]
    assert kinds == sorted(
        kinds,
        key=[
            ("torch.float32", None),
            ("torch.bfloat16", None),
            ("torch.float32", "int8"),
            ("torch.bfloat16", "int8"),
            ("torch.bfloat16", "int4"),
        ].index,
    )
    assert kinds[0] == ("torch.float32", None) and kinds[-1][1] is not None
    for limit, plan in chosen.items():
        assert plan.expected <= parse_size(limit)
        assert plan.to_text() in caplog.text
    assert plan_memory(config, "64GB", workload=Workload(instructions=3)).batch_size == 3


def test_frames_at_once_are_given_up_before_rows() -> None:
    config = preset("instructseg-3b")

    def needed(rows: int, chunk: int) -> int:
        return max(activation_bytes(config, torch.bfloat16, rows, chunk=chunk).values())

    assert needed(1, 4) > needed(1, 2) > needed(1, 1)
    weights = sum(weight_bytes(config, torch.bfloat16, None).values())
    for rows, chunk in ((1, 4), (1, 2), (1, 1)):
        plan = plan_memory(config, weights + needed(rows, chunk), "meta", Workload(instructions=1), chunk=4)
        assert (plan.quantize, plan.batch_size, plan.chunk) == (None, rows, chunk)
        assert f"{rows} rows and {chunk} frame" in plan.to_text()
    plan = plan_memory(config, weights + needed(4, 1), "meta", Workload(instructions=4), chunk=4)
    assert (plan.batch_size, plan.chunk) == (4, 1)


def test_memory_kept_for_later_video_frames(checkpoint: Path) -> None:
    config = preset("nano")
    session = VideoPredictor.from_pretrained(checkpoint, "cpu").session(spacing=2)
    for instruction in ("a red circle", "a star"):
        session.add(instruction)
    for _ in range(30):
        session.push(np.zeros((48, 64, 3), np.uint8))
    kept = session._window[session._window.next - 1]
    tensors = [kept.tokens, *kept.perceived.values()]
    found = sum(tensor.nbytes for tensor in tensors if tensor is not None) + kept.frame.nbytes
    assert len(kept.perceived) == 2
    assert frame_bytes(config, torch.float32, 2, (48, 64)) == found

    still, moving = (plan_memory(config, "64GB", chunk=4, spacing=spacing) for spacing in (0, 5))
    assert still.held == 0 and "held" not in still.to_text()
    assert moving.held == 29 * frame_bytes(config, torch.float32, 16, (1080, 1920))
    assert moving.expected - moving.process == still.expected - still.process + moving.held
    assert "held frames" in moving.to_text()
    on_device = plan_memory(config, "64GB", "meta", chunk=4, spacing=5, dtype=torch.float32)
    assert on_device.held == 29 * frame_bytes(config, torch.float32, 16, None)


def test_a_tracker_counts_on_videos() -> None:
    config = preset("nano")
    asked = Workload((270, 480), instructions=3, track="flow")
    off, tracked, still = (
        plan_memory(config, "64GB", workload=one, spacing=spacing)
        for one, spacing in ((replace(asked, track="off"), 5), (asked, 5), (asked, 0))
    )
    added = tracker_memory("flow", (270, 480), 3, LOOKAHEAD)
    assert tracked.held - off.held == added.held and tracked.activations["tracker"] == added.step
    assert tracked.expected - tracked.process == off.expected - off.process + added.held
    assert still.expected - still.process < off.expected - off.process  # an image is not tracked


def test_a_limit_too_small_names_the_smallest_settings() -> None:
    with pytest.raises(
        ValueError, match=r"the smallest settings are bfloat16 with int4, 1 rows and 1 frame at once: .*MB"
    ) as caught:
        plan_memory(preset("instructseg-3b"), "1GB")
    enough = str(caught.value).rpartition("allow ")[2].split(" ")[0]
    assert plan_memory(preset("instructseg-3b"), f"{int(enough[:-2]) + 50}MB").quantize == "int4"
    plan = plan_memory(preset("nano"), "1GB", "meta", dtype=torch.float16)
    assert plan.dtype == torch.float16 and plan.process == 0


@pytest.mark.parametrize(
    ("text", "expected"), [("6GB", 6 * 10**9), ("1.5GiB", 3 * 2**29), ("800m", 8 * 10**8), (12, 12)]
)
def test_sizes(text: str | int, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "six", "6 apples", "0GB", "-1GB", "IB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is no size of memory: write 6GB"):
        parse_size(text)


def test_a_predictor_takes_the_limit(checkpoint: Path) -> None:
    generous = ImagePredictor.from_pretrained(checkpoint, "cpu", max_memory="100GB")
    assert (generous.batch_size, generous.model.config.quantize) == (16, None)
    clips = VideoPredictor.from_pretrained(checkpoint, "cpu", max_memory="100GB")
    assert (generous.chunk, clips.chunk) == (1, 4)
    small = ImagePredictor.from_pretrained(checkpoint, "cpu", quantize="int8", max_memory="100GB")
    assert small.model.config.quantize == "int8"
    with pytest.raises(ValueError, match="of memory are not enough"):
        ImagePredictor.from_pretrained(checkpoint, "cpu", max_memory="1MB")


def test_quantizing_in_memory_gives_the_counted_size() -> None:
    model = InstructSeg(preset("nano")).eval()
    quantize_model(model, "int4")
    counted = sum(weight_bytes(preset("nano"), torch.float32, "int4").values())
    assert sum(tensor.nbytes for tensor in model.state_dict().values()) == counted
    assert weight_bytes(model.config, torch.float32, "int4") == weight_bytes(
        preset("nano"), torch.float32, "int4"
    )


def test_resident_memory() -> None:
    before = resident_memory()
    if not before:
        pytest.skip("this system does not tell")
    held = torch.ones(16 << 20)
    assert resident_memory() - before > 0.8 * held.nbytes
