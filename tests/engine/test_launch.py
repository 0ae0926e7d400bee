"""What the launcher's settings lead to, and batches that cannot be sharded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import accelerate
import pytest
import torch
from accelerate import DistributedType

from instructseg import distributed
from instructseg.engine import OptimConfig, TrainConfig
from instructseg.engine.parallel.launch import choose_parallel
from instructseg.engine.parallel.replicated import FullySharded, Replicated
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role


def launched(monkeypatch: pytest.MonkeyPatch, kind: DistributedType, **settings: object) -> None:
    """As if ``accelerate launch`` had started this process with those settings."""
    given = {"distributed_type": kind, "device": torch.device("cpu"), "num_processes": 2, **settings}
    monkeypatch.setattr(accelerate, "Accelerator", lambda **_: SimpleNamespace(**given))


def test_plain_processes_hold_whole_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, DistributedType.MULTI_GPU)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    assert type(choose_parallel(TrainConfig())[1]) is Replicated
    assert type(choose_parallel(TrainConfig(sharding="fsdp"))[1]) is FullySharded


def test_settings_of_fsdp_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = SimpleNamespace(reshard_after_forward=False, cpu_offload=None)
    launched(monkeypatch, DistributedType.FSDP, is_fsdp2=True, state=SimpleNamespace(fsdp_plugin=plugin))
    parallel = choose_parallel(TrainConfig())[1]
    assert isinstance(parallel, FullySharded) and not parallel.reshard and not parallel.offload


def test_settings_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, DistributedType.FSDP, is_fsdp2=False)
    with pytest.raises(ValueError, match="launch with --fsdp_version 2"):
        choose_parallel(TrainConfig())
    with pytest.raises(ValueError, match="muon needs whole matrices"):
        choose_parallel(TrainConfig(optim=OptimConfig(method="muon")))
    plugin = SimpleNamespace(zero_stage=3)
    launched(monkeypatch, DistributedType.DEEPSPEED, state=SimpleNamespace(deepspeed_plugin=plugin))
    with pytest.raises(ValueError, match="ZeRO-3 is not supported"):
        choose_parallel(TrainConfig())
    plugin.zero_stage = 2
    with pytest.raises(ValueError, match="set ema_decay and start_share to 0 and final to last"):
        choose_parallel(TrainConfig())


def test_a_checkpoint_of_deepspeed_needs_deepspeed() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    with pytest.raises(ValueError, match="somewhere was written with DeepSpeed"):
        Replicated(torch.device("cpu")).read(Path("somewhere"), optimizer, {"optimizer": {}})


def test_sharded_batches_of_two_kinds_are_refused_before_they_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    asks = ModelInputs(
        input_ids=ids,
        roles=torch.tensor([[Role.TEXT, Role.IMAGE, Role.MASK]]),
        clip_pixels=torch.zeros(1, 1, 3, 4, 4),
        num_references=torch.zeros(1, dtype=torch.long),
        labels=torch.full_like(ids, IGNORE_LABEL),
    )
    question = replace(asks, roles=torch.tensor([[Role.TEXT, Role.IMAGE, Role.TEXT]]))
    other = torch.tensor([True, False, True, False]).int()  # what the other process says: masks, no text
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce_sum", lambda mine: mine + other)
    parallel = FullySharded(torch.device("cpu"))
    parallel.check(asks)
    with pytest.raises(ValueError, match="batches of one step must be of one kind"):
        parallel.check(question)
