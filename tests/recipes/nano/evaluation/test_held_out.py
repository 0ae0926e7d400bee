"""The evaluation while training, with models whose answers are known."""

import pytest
import torch
from torch import nn

from instructseg.model import preset
from instructseg.structures import ModelInputs, SegOutput
from instructseg.training import new_processor
from recipes.nano.config import NanoDataConfig
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.evaluation.held_out import held_out, presence_threshold, synthetic_dataset

CONFIG = NanoDataConfig(
    scene={"objects": [2, 3]},
    expressions_per_scene=2,
    kinds={"attribute": 2.0, "question": 1.0, "absent": 1.0},
    clip_kinds={"motion": 1.0},
)


class Everything(nn.Module):
    """Answers each row with the whole picture, or with nothing; a question with no word."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, inputs: ModelInputs) -> SegOutput:
        rows = len(inputs.input_ids)
        return SegOutput(self.value.expand(rows, 1, 32, 32), torch.zeros(rows, 1))

    def answer(self, inputs: ModelInputs, *rest: object) -> list[list[int]]:
        return [[] for _ in inputs.input_ids]


@pytest.mark.parametrize("clips", [False, True])
def test_outcomes_are_those_of_a_plain_loop(clips: bool) -> None:
    processor = new_processor(preset("nano"))
    dataset = synthetic_dataset(CONFIG, "val", clips, 6, {"attribute": 1.0})
    samples = [sample for i in range(6) for sample in dataset[i]]
    outcomes = list(measure(Everything(5.0), processor, dataset))
    assert [one.score for one in outcomes] == pytest.approx([s.masks[0].mean() for s in samples])
    assert [one.intersection for one in outcomes] == [int(s.masks[0].sum()) for s in samples]
    # one thing in sight is meant and no two share a pixel
    assert [one.chance for one in outcomes] == pytest.approx([1 / (1 + len(s.distractors)) for s in samples])
    assert {one.presence for one in outcomes} == {0.5}
    nothing = list(measure(Everything(-5.0), processor, dataset))
    assert {one.score for one in nothing} == {0.0}
    assert len(list(measure(Everything(5.0), processor, dataset, instructions=3))) in (3, 4)


def test_a_value_for_each_kind_that_is_trained_on() -> None:
    values = held_out(CONFIG, new_processor(preset("nano")), scenes=2)(Everything(5.0))
    assert set(values) == {
        "image/attribute/giou", "image/question/accuracy", "image/absent/n_acc", "image/all/giou",
        "image/all/ciou", "clip/motion/giou", "clip/all/giou", "clip/all/ciou",
    }  # fmt: skip
    assert values["image/question/accuracy"] == 0  # an empty answer is wrong
    assert values["image/absent/n_acc"] == 0  # a presence that is the same for all tells nothing
    assert values["image/all/giou"] == values["image/attribute/giou"] > 0


def test_the_threshold_refuses_one_in_twenty() -> None:
    def some(count: int) -> list[Outcome]:
        return [Outcome("a", "attribute", "", True, presence=i / count) for i in range(count)]

    assert presence_threshold(some(100)) == 0.05
    assert presence_threshold(some(10)) == 0.0
    assert presence_threshold(some(10), answered=0.5) == 0.5
