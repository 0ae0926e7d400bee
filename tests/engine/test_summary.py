from __future__ import annotations

import pytest
import torch
from torch import nn

from instructseg.engine.optim import OptimConfig, build_optimizer, select_trainable
from instructseg.engine.summary import (
    ParameterCount,
    count_memory,
    count_parts,
    describe,
    estimate_activations,
    prepare_memory,
)
from instructseg.model import InstructSeg, preset
from tests.engine.fakes import TinyModel, TinySource
from tests.engine.two_processes import SMALL

LORA = {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]}


def test_counted_memory_equals_that_of_a_step() -> None:
    model = TinyModel()
    select_trainable(model, OptimConfig(frozen=("backbone",)))
    optimizer = build_optimizer(model, OptimConfig())
    memory = count_memory(model, ema=True)
    inputs, _ = TinySource().batch(0)
    model(inputs).mask_logits.sum().backward()
    optimizer.step()
    learning = [p for p in model.parameters() if p.requires_grad]
    assert memory.weights == sum(p.nbytes for p in model.parameters())
    assert memory.gradients == memory.averages == sum(p.grad.nbytes for p in learning)
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    assert memory.optimizer == sum(moment.nbytes for moment in moments)
    halved = count_memory(model, ema=True, shards=2)
    assert halved.total == pytest.approx(memory.total / 2, abs=4)


def test_parts_and_lines() -> None:
    with torch.device("meta"):
        model = InstructSeg(preset("nano", **SMALL, lora=LORA))
    select_trainable(model, OptimConfig(trainable=("*.lora_*", "language.lm_head", "ovp")))
    parts = count_parts(model)
    assert parts["language (LoRA)"] == ParameterCount(2 * 2 * 2 * 32, 0)
    assert parts["language (lm_head)"] == ParameterCount(2048 * 32, 0)
    assert parts["language (embed_tokens)"] == ParameterCount(0, 2048 * 32)
    assert parts["ovp"].frozen == parts["vision"].trainable == 0
    lines = describe(model, count_memory(model, ema=False))
    total = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert lines[0] == f"{learning:,} of {total:,} parameters are trained"
    assert "vision" in lines[2] and "vision" not in lines[1] and "estimate" not in lines[3]


def test_estimate_falls_with_checkpointing_and_grows_with_rows() -> None:
    from instructseg.training import new_processor
    from tests.engine.two_processes import Rows

    with torch.device("meta"):
        model = InstructSeg(preset("nano", **SMALL))
    processor = new_processor(model.config)
    two, four = (Rows(processor, rows).batch(0)[0] for rows in (2, 4))
    plain = estimate_activations(model, two, half=False, checkpointing=False)
    assert 0 < estimate_activations(model, two, half=False, checkpointing=True) < plain
    assert plain < estimate_activations(model, four, half=False, checkpointing=False)
    assert estimate_activations(TinyModel(), two, half=False, checkpointing=False) == 0


def test_frozen_weights_in_half_precision_and_checkpointing() -> None:
    model = InstructSeg(preset("nano", **SMALL))
    select_trainable(model, OptimConfig(trainable=("mask_decoder",)))
    prepare_memory(model, torch.bfloat16, True, "")
    types = {(name.partition(".")[0], p.dtype) for name, p in model.named_parameters()}
    assert ("vision", torch.bfloat16) in types and ("mask_decoder", torch.float32) in types
    assert {dtype for name, dtype in types if name == "pixel_decoder"} == {torch.float32}  # as the model asks
    assert model.language.model.layers[0].gradient_checkpointing
    with pytest.raises(ValueError, match="here: this model has no"):
        prepare_memory(nn.Linear(1, 1), None, True, "here")
