"""Runs a trainer on the nano model in one process or two; started by the tests as processes of their own."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp
from accelerate.state import AcceleratorState

from instructseg.criterion import SegCriterion
from instructseg.criterion.criterion import CriterionConfig
from instructseg.engine import TrainConfig, Trainer
from instructseg.model import InstructSeg, preset
from instructseg.structures import Sample, Task
from instructseg.training import new_processor

SMALL = {
    "vision_config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                      "num_attention_heads": 2, "image_size": 48, "patch_size": 12},
    "text_config": {"vocab_size": 2048, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                    "num_attention_heads": 2, "max_position_embeddings": 512, "bos_token_id": 0,
                    "eos_token_id": 0, "pad_token_id": 0, "partial_rotary_factor": 0.5},
    "backbone_config": {"image_size": 64, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2],
                        "window_size": 4, "drop_path_rate": 0.0},
    "image_size": 64,
    "lm_head_size": 2048,
    "learned_queries": False,
}  # fmt: skip


class Grid:
    """Every mask is compared on the same points, so that a row's loss does not depend on its neighbours."""

    points = torch.cartesian_prod(torch.linspace(0.05, 0.95, 8), torch.linspace(0.05, 0.95, 8))[None]

    def uniform(self, rows: int, device: torch.device) -> torch.Tensor:
        return self.points.expand(rows, -1, -1)

    def uncertain(self, logits: torch.Tensor) -> torch.Tensor:
        return self.points.expand(len(logits), -1, -1)


@dataclass
class Rows:
    """Step ``s`` has four rows, of masks where ``s`` is even and of VQA where it is odd.

    ``mixed``: of both in each step.
    """

    processor: object
    rows: int
    mixed: bool = False

    def samples(self, index: int) -> list[Sample]:
        first = index * self.rows
        return [self.sample(row) for row in range(first, first + self.rows)]

    def sample(self, row: int) -> Sample:
        rng = np.random.default_rng(row)
        frame = rng.integers(0, 255, (40, 56, 3), dtype=np.uint8)
        words = " ".join(["red", "ball", "on", "the", "left"][: 2 + row % 3])
        if row % 4 == 1 if self.mixed else row // 4 % 2:
            return Sample(frame, words, Task.VQA, answer=words, name=f"row-{row}")
        mask = np.zeros((1 + row % 2, 40, 56), np.uint8)
        mask[:, 5 + row % 9 : 30, 8:40] = 1
        mask[-1, :, :20] = 0
        if row % 8 == 2:  # nothing answers: the processes have different numbers of rows with an answer
            mask = mask[:0]
        return Sample(frame, words, Task.RES, masks=mask, name=f"row-{row}")

    def batch(self, index: int):
        samples = self.samples(index)
        return self.processor(samples, training=True), self.processor.targets(samples)

    def names(self, index: int) -> list[str]:
        return [sample.name for sample in self.samples(index)]

    def task(self, index: int) -> str:
        return self.samples(index)[0].task.value


def run(folder: Path, config: TrainConfig, rows: int, mixed: bool = False) -> Trainer:
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # the first process's weights must count
    model = InstructSeg(preset("nano", **SMALL))
    if "RANK" not in os.environ or os.environ["RANK"] == "0":
        torch.manual_seed(0)
    processor = new_processor(model.config)

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        output = model(Rows(processor, 4).batch(100)[0])
        return {"logit": output.mask_logits.mean().item()}

    criterion = SegCriterion(CriterionConfig(selection_weight=2.0), Grid())
    trainer = Trainer(model, criterion, Rows(processor, rows, mixed), config, folder, evaluate)
    trainer.train()
    return trainer


def process(rank: int, port: int, folder: str, config: TrainConfig, rows: int, mixed: bool) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    AcceleratorState._reset_state(reset_partial_state=True)  # what was forked along
    torch.set_num_threads(1)
    run(Path(folder), config, rows, mixed)
    torch.distributed.destroy_process_group()


def run_two(folder: Path, config: TrainConfig, rows: int = 2, mixed: bool = False) -> None:
    """Two gloo processes with ``rows`` rows in a batch each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(process, (port, str(folder), config, rows, mixed), nprocs=2, start_method="fork")
