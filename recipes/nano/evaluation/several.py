"""Instructions that mean several objects ("both stars", "the two shapes on the left"), and such that none fits.

python -m recipes.nano.evaluation.several [INSTRUCTIONS] [MODEL] [SPLIT]

Asked as a user does, without an option: the words decide how many objects are meant, the presence of the
weights whether there are any. N-acc, T-acc and gIoU of the union as gRefCOCO defines them; an answer is exact
where as many objects as are meant have a mask of their own. AP50 is of all objects above a low cut; presence
plays no part in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from instructseg.evaluation.generalized import GeneralizedSums
from instructseg.evaluation.sums import mean
from instructseg.inference import ImagePredictor
from recipes.nano.config import load_config
from recipes.nano.evaluation.all_objects import LOWEST, Answer, average_precision, matched
from recipes.nano.evaluation.bootstrap import interval
from recipes.nano.evaluation.held_out import synthetic_dataset

_MANY = 10**6  # scenes, more than are ever asked for


@dataclass(frozen=True, eq=False)
class Asked:
    """One instruction and its answers.

    Attributes:
        scene: its name.
        form: of the instruction.
        user: what a user gets, without empty masks.
        every: all objects above :data:`~recipes.nano.evaluation.all_objects.LOWEST`, presence aside.
    """

    scene: str
    form: str
    user: Answer
    every: Answer


def answered(predictor: ImagePredictor, kind: str, count: int, split: str, wording: str) -> Iterator[Asked]:
    """Asks ``count`` instructions of a kind, or to the end of a scene a few more."""
    data = load_config("configs/nano/test.yaml").data
    dataset = synthetic_dataset(data, split, False, _MANY, {kind: 1.0}, wording=wording)
    usual = predictor.processor.config
    low = replace(usual, instance_threshold=LOWEST)
    asked = index = 0
    while asked < count:
        drawn = dataset.scene(index)
        index, frame = index + 1, drawn.scene.frames[drawn.key]
        texts = [said.text for said in drawn.expressions]
        asked += len(texts)
        shown = predictor.encode(frame)
        found = predictor.predict(shown, texts)
        predictor.processor.config = low
        every = predictor.predict(shown, texts, threshold=0, all_instances=True)
        predictor.processor.config = usual
        for place, said in enumerate(drawn.expressions):
            truth = np.zeros((len(said.targets), *frame.shape[:2]), bool)
            for row, target in enumerate(said.targets):
                truth[row] = drawn.scene.ids[drawn.key] == target + 1
            both = []
            for some in (found, every):
                kept = [one for one in some if one.instruction_id == place and one.found]
                both.append(Answer(kept, truth, matched(kept, truth)))
            yield Asked(drawn.name, said.form, both[0], both[1])


def figures(answers: Sequence[Asked]) -> Mapping[str, tuple[float, float, float]]:
    """N-acc of instructions without a target, else T-acc, gIoU, the share of exact answers and AP50: value and
    bounds, 0..1; AP50 is without."""
    scenes, sums = [one.scene for one in answers], GeneralizedSums()
    values = []
    for one in answers:
        truth = np.asarray(one.user.truth.any(0))  # of none, nothing
        union = np.zeros_like(truth)
        for found in one.user.found:
            union |= found.mask
        values.append(sums.add(union, truth, not one.user.found))
    exact = [float(sum(a.user.right) == len(a.user.found) == len(a.user.truth)) for a in answers]
    rows = {"N-acc": sums.nothing} if sums.nothing else {}
    if sums.targeted:
        rows = {"T-acc": [float(one) for one in sums.answered], "gIoU": values, "exact": exact}
    bounded = {name: (mean(some), *interval(some, [1.0] * len(some), scenes)) for name, some in rows.items()}
    if sums.targeted:
        value = average_precision([one.every for one in answers])
        bounded["AP50"] = (value, value, value)
    return bounded


def main(instructions: int = 300, model: str | None = None, split: str = "test") -> None:
    """Prints the rows, in percent, and gIoU and exact answers of each form."""
    torch.set_num_threads(1)
    predictor = ImagePredictor.from_pretrained(model, "cpu")
    print("| instructions | metric | value | 95 % interval | n |\n|---|---|---:|---:|---:|")
    for kind in ("several", "none"):
        for wording in ("seen", "unseen"):
            answers = list(answered(predictor, kind, instructions, split, wording))
            forms = {one.form: [a for a in answers if a.form == one.form] for one in answers}
            for form, some in ({"": answers} | (forms if wording == "seen" else {})).items():
                for metric, (value, low, high) in figures(some).items():
                    name = f"{kind}{f'/{form}' if form else ''}, {wording}"
                    bounds = f"{100 * low:.1f} to {100 * high:.1f}" if metric != "AP50" else ""
                    print(f"| {name} | {metric} | {100 * value:.1f} | {bounds} | {len(some)} |", flush=True)


if __name__ == "__main__":
    main(*(int(word) if word.isdigit() else word for word in sys.argv[1:]))  # type: ignore[arg-type]
