"""Several processes against one: the same losses and the same weights from the same global batch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from instructseg.engine import OptimConfig, TrainConfig
from instructseg.engine.parallel.replicated import Replicated, average_gradients
from tests.engine.two_processes import run, run_two

CONFIG = TrainConfig(
    max_steps=4,
    log_every=1,
    save_every=2,
    eval_every=2,
    ema_decay=0.9,
    start_share=0.25,
    optim=OptimConfig(lr=1e-3, frozen=("vision", "backbone")),
)


pytestmark = pytest.mark.usefixtures("on_cpu")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        run(folder, CONFIG, rows=4)
    return folder


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[dict[str, float]]:
    keys = ["loss", "mask", "dice", "class", "selection", "text", "gradient_norm"]
    keys += ["res/loss", "vqa/loss", "eval/logit"]
    return [{key: line[key] for key in keys if key in line} for line in lines(folder)]


def assert_close(ours: Path, theirs: Path) -> None:
    for one, other in zip(losses(ours), losses(theirs), strict=True):
        assert one == pytest.approx(other, rel=2e-4, abs=1e-6)
    for file in ("final/model.safetensors", "checkpoint-4/model.safetensors", "checkpoint-4/ema.safetensors"):
        mine, yours = load_file(ours / file), load_file(theirs / file)
        assert mine.keys() == yours.keys()
        for name in mine:
            torch.testing.assert_close(mine[name], yours[name], rtol=0, atol=2e-4, msg=f"{file} {name}")


def test_both_tasks_are_learned(alone: Path) -> None:
    found = [line for line in losses(alone) if "loss" in line]
    assert len(losses(alone)) == 6  # and two evaluations
    assert [("res/loss" in line, "vqa/loss" in line) for line in found] == [(True, False), (False, True)] * 2
    assert all(line["mask"] > 0 and line["text"] == 0 for line in found[::2])
    assert all(line["mask"] == 0 and line["text"] > 0 for line in found[1::2])


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_equal_one_on_masks_and_vqa(alone: Path, tmp_path: Path, sharding: str) -> None:
    run_two(tmp_path, replace(CONFIG, sharding=sharding))
    assert_close(tmp_path, alone)


def test_any_split_of_a_step_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four rows with 1, 2 and 0 masks and a question: as one batch, as four, as two, and in two processes."""
    gradients: list[torch.Tensor] = []
    update = Replicated.update

    def recording(self, optimizer, *arguments):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        filled = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        gradients.append(torch.cat([gradient.flatten() for gradient in filled]))
        return update(self, optimizer, *arguments)

    config = TrainConfig(max_steps=2, log_every=1, save_every=0, ema_decay=0.0, optim=CONFIG.optim)
    with monkeypatch.context() as patch:
        patch.setattr(Replicated, "update", recording)
        run(tmp_path / "4", config, 4, mixed=True)
        run(tmp_path / "1111", replace(config, accumulate=4), 1, mixed=True)
        run(tmp_path / "22", replace(config, accumulate=2), 2, mixed=True)
    for ours in (gradients[2], gradients[4]):
        assert (ours - gradients[0]).norm() <= 1e-5 * gradients[0].norm()
    run_two(tmp_path / "1111-two", replace(config, accumulate=2), 1, mixed=True)
    keys = ("loss", "mask", "dice", "class", "selection", "text", "gradient_norm")
    first = [[line[key] for key in keys] for line in lines(tmp_path / "4")]
    assert all(min(values) > 0 for values in first)
    for split in ("1111", "22", "1111-two"):
        for ours, theirs in zip(lines(tmp_path / split), first, strict=True):
            assert [ours[key] for key in keys] == pytest.approx(theirs, rel=2e-4), split
        mine, yours = (load_file(tmp_path / name / "final" / "model.safetensors") for name in (split, "4"))
        for name in mine:
            torch.testing.assert_close(mine[name], yours[name], rtol=0, atol=2e-4, msg=f"{split} {name}")


@pytest.mark.slow
def test_a_sharded_run_resumes_from_a_checkpoint_of_one_process(alone: Path, tmp_path: Path) -> None:
    """A checkpoint holds whole tensors: whoever wrote it, any number of processes goes on from it."""
    for folder in ("start", "checkpoint-2"):
        shutil.copytree(alone / folder, tmp_path / folder)
    shutil.copy(alone / "metrics.jsonl", tmp_path)
    run_two(tmp_path, replace(CONFIG, sharding="fsdp"))
    assert_close(tmp_path, alone)


def averaging(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    both, one, none = (nn.Parameter(torch.zeros(3)) for _ in range(3))
    both.grad = torch.full((3,), 1.0 + rank)
    if rank:
        one.grad = torch.full((3,), 8.0)
    average_gradients([both, one, none], torch.device("cpu"))
    assert both.grad.tolist() == [1.5] * 3 and one.grad.tolist() == [4.0] * 3 and none.grad is None
    torch.distributed.destroy_process_group()


def test_parameters_that_some_or_none_used(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(averaging, (str(tmp_path),), nprocs=2, start_method="fork")
