"""Every object of a kind ("all the dogs") on photographs not trained on: AP50, and what a user gets.

``python -m recipes.mini.all_objects --photos FOLDER``; objects are those annotated one by one, in photographs
where all of their category are. The measures are those of :mod:`recipes.nano.evaluation.all_objects`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from instructseg.files import write_json_atomic
from instructseg.inference import ImagePredictor
from recipes.mini.photographs import Photographs, read_photographs
from recipes.mini.train import KEPT_OUT
from recipes.mini.words import SYNONYMS, UNCOUNTED, plural
from recipes.nano.evaluation.all_objects import LOWEST, Answer, figures, matched

DRAWS = 200
FORMS = ("all the {}", "every one of the {}")
"""Ways to ask, of a plural."""


def answered(
    predictor: ImagePredictor, photographs: Photographs, zoom: int = 1
) -> Iterator[tuple[str, Answer]]:
    """Stem of the photograph and answer, by category of which every object has its own mask, and by form."""
    for photograph in photographs:
        asked: dict[str, np.ndarray] = {}
        for category in sorted({one.category for one in photograph.regions} & photographs.covered(photograph)):
            regions = [one for one in photograph.regions if one.category == category]
            if category in SYNONYMS and all(one.single for one in regions):
                name, truth = SYNONYMS[category][0], np.stack([one.mask() for one in regions])
                name = name if category in UNCOUNTED else plural(name)
                asked |= {form.format(name): truth for form in FORMS}
        if not asked:
            continue
        found = predictor.predict(photograph.pixels(), list(asked), threshold=0, all_instances=True, zoom=zoom)
        for place, truth in enumerate(asked.values()):
            some = [one for one in found if one.instruction_id == place and one.found]
            yield photograph.file.stem, Answer(some, truth, matched(some, truth))


def main() -> None:
    """Reads the command line, measures, prints the figures with 95 % intervals (bootstrap over photographs)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of annotations.json and images/")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--zoom", type=int, default=1, help="of the predictions")
    parser.add_argument("--output", type=Path, help="also writes the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictor = ImagePredictor.from_pretrained(arguments.model, "cpu")
    cut = predictor.processor.config.instance_threshold or 0.5
    predictor.processor.config = replace(predictor.processor.config, instance_threshold=LOWEST)
    answers: dict[str, list[Answer]] = {}
    for name, answer in answered(
        predictor, read_photographs(arguments.photos, "val", KEPT_OUT), arguments.zoom
    ):
        answers.setdefault(name, []).append(answer)
    groups, rng = list(answers.values()), np.random.default_rng(0)
    values = figures([one for some in groups for one in some], cut)
    drawn = [
        figures([one for place in rng.integers(len(groups), size=len(groups)) for one in groups[place]], cut)
        for _ in range(DRAWS)
    ]
    rows = []
    for name, value in values.items():
        low, high = np.quantile([one[name] for one in drawn], [0.025, 0.975])
        rows.append({"row": f"all of a kind, {name}", "value": value, "low": float(low), "high": float(high)})
        print(f"| all of a kind, {name} | {value:.3f} | {low:.2f} to {high:.2f} |")
    size = {
        "n": sum(map(len, groups)),
        "objects": sum(len(one.truth) for some in groups for one in some) // len(FORMS),
    }
    size["photographs"] = len(groups)
    print(size, f"cut {cut}")
    if arguments.output:
        write_json_atomic(
            arguments.output,
            {"model": arguments.model, "zoom": arguments.zoom, "cut": cut, **size, "rows": rows},
            indent=1,
        )


if __name__ == "__main__":
    main()
