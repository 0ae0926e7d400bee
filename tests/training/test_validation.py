"""Data sets that a run on a mixture is measured on while it trains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from instructseg.config import DatasetConfig, load_config
from instructseg.model import preset
from instructseg.structures import ModelInputs, SegOutput
from instructseg.training import build_model, build_trainer, new_processor
from instructseg.training.mixture_samples import open_dataset
from instructseg.training.validation import measure, spread, validation
from recipes.nano.layouts.copies import write_copies

YAML = """
model: {{name: preset:nano}}
data:
  kind: mixture
  batch_size: 2
  switch_bs: 2
  mixture: [{{name: reasonseg, root: {root}/ReasonSeg, split: train}}]
  val: [{{name: reasonseg, root: {root}/ReasonSeg, split: val}}]
  val_samples: 3
criterion: {{num_points: 64}}
train: {{max_steps: 2, save_every: 0, log_every: 1, eval_every: 1, best: mean/giou, patience: 5, final: best}}
"""


class Everything(nn.Module):
    """Answers each row with the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(5.0))

    def forward(self, inputs: ModelInputs) -> SegOutput:
        rows = len(inputs.input_ids)
        return SegOutput(self.value.expand(rows, 1, 32, 32), torch.zeros(rows, 1))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    write_copies(folder, ["reasonseg"])
    return folder


def test_sums_are_those_of_a_plain_loop(root: Path) -> None:
    dataset = open_dataset(DatasetConfig("reasonseg", str(root / "ReasonSeg"), "val"))
    chosen = spread(len(dataset), 3)
    sums = measure(Everything(), new_processor(preset("nano")), dataset, chosen, 2)
    shares = []
    for index in chosen:
        truth = dataset[index].masks.max(0)
        counted = truth != 255
        shares.append(np.count_nonzero(truth[counted]) / np.count_nonzero(counted))
    assert sums.giou == pytest.approx(np.mean(shares)) and sums.count == 3


def test_places_are_spread_evenly() -> None:
    assert spread(10, 5) == [0, 2, 4, 6, 8] and spread(3, 9) == [0, 1, 2]


def test_a_run_keeps_and_hands_on_its_best(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(YAML.format(root=root))
    run = load_config(file)
    model, processor = build_model(run.model, run.seed)
    build_trainer(run, tmp_path / "out", processor, model).train()
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in lines if "eval/mean/giou" in line]
    assert [line["step"] for line in found] == [0, 1, 2]
    assert all(line["eval/reasonseg/giou"] == line["eval/mean/giou"] for line in found)
    assert found[0]["eval/reasonseg/n"] == 3
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    assert best["value"] == max(line["eval/mean/giou"] for line in found)
    assert any("reasonseg/mask" in line for line in lines)


def test_one_set_twice_is_an_error(root: Path) -> None:
    part = DatasetConfig("reasonseg", str(root / "ReasonSeg"), "val")
    from instructseg.config import DataConfig

    data = DataConfig(kind="mixture", mixture=(part,), val=(part, part))
    with pytest.raises(ValueError, match=r"data.val: reasonseg:val is listed twice"):
        validation(data, new_processor(preset("nano")))
    two = DataConfig(kind="mixture", mixture=(part,), val=(part, DatasetConfig(part.name, part.root, "train")))
    validation(two, new_processor(preset("nano")))
