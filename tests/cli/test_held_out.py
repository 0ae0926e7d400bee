"""The evaluation on generated scenes, with models whose answers are known."""

import pytest
import torch
from torch import nn

from instructseg.cli.build import new_processor
from instructseg.cli.held_out import evaluate, held_out, synthetic_dataset
from instructseg.config import DataConfig
from instructseg.model import preset
from instructseg.structures import ModelInputs, SegOutput

CONFIG = DataConfig(scene={"objects": [2, 3]}, expressions_per_scene=2)


class Everything(nn.Module):
    """Answers each row with the whole picture, or with nothing."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, inputs: ModelInputs) -> SegOutput:
        rows = len(inputs.input_ids)
        return SegOutput(self.value.expand(rows, 1, 32, 32), torch.zeros(rows, 1))


@pytest.mark.parametrize("clips", [False, True])
def test_sums_are_those_of_a_plain_loop(clips: bool) -> None:
    processor = new_processor(preset("nano"))
    dataset = synthetic_dataset(CONFIG, "val", clips, length=6)
    samples = [sample for i in range(6) for sample in dataset[i]]
    shares = [sample.masks[0].mean() for sample in samples]
    sums = evaluate(Everything(5.0), processor, dataset)
    assert sums["all"].count == len(samples) == 12
    assert sums["all"].giou == pytest.approx(sum(shares) / 12)
    areas = sum(int(sample.masks[0].sum()) for sample in samples)
    assert sums["all"].ciou == pytest.approx(areas / sum(sample.masks[0].size for sample in samples))
    assert sum(one.count for key, one in sums.items() if key not in ("all", "chance")) == 12
    assert 0 < sums["chance"].giou < 1  # of two or three things, one is meant
    nothing = evaluate(Everything(-5.0), processor, dataset)
    assert nothing["all"].ciou == 0
    assert nothing["chance"].giou == sums["chance"].giou


def test_forms_are_listed_when_asked_for() -> None:
    processor = new_processor(preset("nano"))
    short = held_out(CONFIG, processor, scenes=2)(Everything(5.0))
    assert set(short) == {
        f"{n}/{k}/{v}" for n in ("image", "clip") for k in ("all", "chance") for v in ("ciou", "giou", "n")
    }
    assert len(held_out(CONFIG, processor, scenes=2, forms=True)(Everything(5.0))) > len(short)
