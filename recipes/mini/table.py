"""The figures of ``mini``'s model card, by one command: ``python -m recipes.mini.table --photos FOLDER``.

Each row has its number of cases, a 95 % interval (bootstrap over photographs) and two baselines that are given
the true masks to choose from: a region of the photograph at random, and the largest one.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.evaluation.jf import region_and_boundary
from instructseg.files import write_json_atomic, write_text_atomic
from instructseg.inference import ImagePredictor, VideoPredictor
from recipes.filmed import read_filmed
from recipes.mini.evaluate import Result, evaluate
from recipes.mini.photographs import Photographs, read_photographs
from recipes.mini.train import KEPT_OUT
from recipes.mini.wording import HELD_OUT
from recipes.mini.words import BAGS, CLOTHES, FOOTWEAR

T_ACC = 0.9
"""Share of what is there that must not be called absent."""
DRAWS = 400
Measure = Callable[[Sequence[Result]], float]


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        name: what is measured.
        cases: the results that count.
        measure: of them, 0..1.
        baselines: whether a region at random, and the largest one, are comparable.
    """

    name: str
    cases: Sequence[Result]
    measure: Measure
    baselines: bool = True

    def values(self, seed: int = 0) -> dict[str, Any]:
        """The figure with its interval, number of cases and baselines."""
        by_photograph: dict[str, list[Result]] = defaultdict(list)
        for case in self.cases:
            by_photograph[case.case.photograph].append(case)
        groups, rng = list(by_photograph.values()), np.random.default_rng(seed)
        drawn = []
        for _ in range(DRAWS if groups else 0):
            chosen = rng.integers(len(groups), size=len(groups))
            drawn.append(self.measure([case for number in chosen for case in groups[number]]))
        low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (0.0, 0.0)
        found = {"row": self.name, "value": self.measure(self.cases), "low": float(low), "high": float(high)}
        found |= {"n": len(self.cases), "photographs": len(groups)}
        if self.baselines and self.cases:
            found["chance"] = float(np.mean([case.chance for case in self.cases]))
            found["largest"] = float(np.mean([case.largest for case in self.cases]))
        return found


def mean_iou(results: Sequence[Result]) -> float:
    """Mean over the cases."""
    return float(np.mean([one.iou for one in results])) if results else 0.0


def summed_iou(results: Sequence[Result]) -> float:
    """All intersections over all unions (cIoU)."""
    return sum(one.overlap[0] for one in results) / max(1, sum(one.overlap[1] for one in results))


def share_right(results: Sequence[Result]) -> float:
    """Share of the cases whose answer is the right object."""
    return float(np.mean([one.right for one in results])) if results else 0.0


def by_category(results: Sequence[Result]) -> float:
    """Mean over categories of the mean over their cases."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in results:
        found[one.case.category].append(one.iou)
    return float(np.mean([np.mean(values) for values in found.values()])) if found else 0.0


def rows(results: Sequence[Result], trained: Photographs) -> list[Row]:
    """All rows but absence, wording and video; ``trained`` tells which categories are frequent."""
    seen = Counter((p.source, region.category) for p in trained for region in p.regions)
    total: Counter[str] = Counter()
    for (_, category), number in seen.items():
        total[category] += number
    usual = [c for c, _ in Counter({c: n for (s, c), n in seen.items() if s == "coco"}).most_common(20)]
    worn = Counter({c: n for (s, c), n in seen.items() if s == "ccp" and c in CLOTHES | FOOTWEAR | BAGS})
    clothes = {category for category, _ in worn.most_common(12)}
    whole = [one for one in results if one.case.kind == "category"]
    asked = [one for one in results if one.case.kind not in ("category", "absent") and not one.absent]

    def of(*kinds: str) -> list[Result]:
        return [one for one in asked if one.case.kind in kinds]

    def person(*sources: str) -> list[Result]:
        return [one for one in whole if one.case.category == "person" and one.case.source in sources]

    coco = [one for one in whole if one.case.source == "coco" and one.case.category in usual]
    return [
        Row("the person, all of them: coco and msrc", person("coco", "msrc"), mean_iou),
        Row("the person: ccp and people", person("ccp", "people"), mean_iou),
        Row("20 most frequent categories of coco", coco, by_category),
        Row("23 kinds of msrc", [one for one in whole if one.case.source == "msrc"], mean_iou),
        Row(
            "all categories with 15 training masks",
            [one for one in whole if total[one.case.category] >= 15],
            by_category,
        ),
        Row("one of several by side, order, size: right object", of("side", "order", "size"), share_right),
        Row("by colour: right object", of("colour"), share_right),
        Row("by relation: right object", of("relation"), share_right),
        Row("the only one, described: right object", of("described"), share_right),
        Row("all references, cIoU", asked, summed_iou),
        Row("all references, gIoU", asked, mean_iou),
        Row("several objects, gIoU", [one for one in asked if len(one.case.wanted) > 1], mean_iou),
        Row(
            "clothes and parts, 12 most frequent",
            [one for one in whole if one.case.source == "ccp" and one.case.category in clothes],
            by_category,
        ),
        Row("main object (ecssd)", [one for one in of("main") if one.case.source == "ecssd"], mean_iou),
    ]


def absence(results: Sequence[Result]) -> tuple[Row, float]:
    """N-acc where T-acc is :data:`T_ACC`, and the presence threshold that gives it."""
    there = [one.presence for one in results if not one.absent]
    threshold = float(np.quantile(there, 1 - T_ACC))

    def refused(cases: Sequence[Result]) -> float:
        return float(np.mean([one.presence < threshold for one in cases])) if cases else 0.0

    return Row("absent: N-acc at T-acc 90 %", [one for one in results if one.absent], refused, False), threshold


def video(
    predictor: VideoPredictor, folder: Path, stride: int, threshold: float | None = None
) -> dict[str, Any]:
    """Mean J&F of the sequences of a folder, each by its first expression.

    Args:
        predictor: of the model.
        folder: of the sequences.
        stride: of the language model.
        threshold: presence below which a mask is empty; ``None`` for that of the weights, 0 for a mask in any
            case, as the official metric is taken.
    """
    scores = {}
    for filmed in read_filmed(folder):
        found = [
            np.any([one.mask for one in result.predictions], axis=0)
            for result in predictor.predict(
                list(filmed.frames), filmed.texts[0], llm_stride=stride, threshold=threshold
            )
        ]
        region, boundary = region_and_boundary(np.stack(found), filmed.masks)
        scores[filmed.name] = float((region.mean() + boundary.mean()) / 2)
    always = ", a mask in any case" if threshold == 0 else ""
    return {
        "row": f"video, J&F, {'every frame' if stride == 1 else f'stride {stride}'}{always}",
        "value": float(np.mean(list(scores.values()))),
        "n": len(scores),
        "by_sequence": scores,
    }


def write_samples(file: Path, results: Sequence[Result]) -> None:
    """Writes the presence of every case, as ``instructseg calibrate`` reads it."""
    lines = [
        json.dumps({"name": str(number), "presence": one.presence, "is_nothing": one.absent})
        for number, one in enumerate(results)
    ]
    write_text_atomic(file, "\n".join([*lines, ""]))


def table(found: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| row | value | 95 % | n | region at random | largest region |", "|---|---|---|---|---|---|"]
    for one in found:
        interval = f"{one['low']:.2f} to {one['high']:.2f}" if "low" in one else ""
        baselines = [f"{one[name]:.2f}" if name in one else "" for name in ("chance", "largest")]
        lines.append(
            f"| {one['row']} | {one['value']:.3f} | {interval} | {one['n']} | {baselines[0]} | {baselines[1]} |"
        )
    return "\n".join(lines)


def measure(name: str, photographs: Photographs, trained: Photographs, videos: Path | None) -> dict[str, Any]:
    """All rows of a model, as they stand in a result file.

    Args:
        name: of the model, or its folder.
        photographs: not trained on.
        trained: tell which categories are frequent.
        videos: a folder of sequences; left out if it does not exist.
    """
    predictor = ImagePredictor.from_pretrained(name)
    results = evaluate(predictor, photographs)
    found = [row.values() for row in rows(results, trained)]
    row, threshold = absence(results)
    found.append({**row.values(), "threshold": threshold})
    other = evaluate(predictor, photographs, HELD_OUT)
    plain, changed = ([one for one in some if not one.absent] for some in (results, other))
    loss = mean_iou(plain) - mean_iou(changed)
    found.append({"row": "held-out wording, loss of mean IoU", "value": loss, "n": len(changed)})
    if videos is not None and videos.is_dir():
        both = VideoPredictor(predictor.model, predictor.processor)
        found += [video(both, videos, stride, threshold) for threshold in (None, 0) for stride in (1, 4)]
    return {"model": name, "rows": found}


def told(values: dict[str, Any]) -> str:
    """What :func:`measure` found, as it is printed: the table, and the threshold of its row of absence."""
    (threshold,) = (one["threshold"] for one in values["rows"] if "threshold" in one)
    return f"{table(values['rows'])}\npresence threshold for a T-acc of {T_ACC:.0%}: {threshold:.3f}"


def main() -> None:
    """Reads the command line, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of annotations.json and images/")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th photograph")
    parser.add_argument("--no-video", action="store_true", help="leave out the folder video/")
    parser.add_argument("--output", type=Path, help="also writes the figures as JSON")
    parser.add_argument("--samples", type=Path, help="writes presences for 'instructseg calibrate', and ends")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    photographs = read_photographs(arguments.photos, "val", KEPT_OUT)
    photographs = replace(photographs, images=photographs.images[:: arguments.every])
    if arguments.samples:
        predictor = ImagePredictor.from_pretrained(arguments.model)
        write_samples(arguments.samples, evaluate(predictor, photographs))
        return
    videos = None if arguments.no_video else arguments.photos / "video"
    values = measure(
        arguments.model, photographs, read_photographs(arguments.photos, "train", KEPT_OUT), videos
    )
    print(told(values))
    if arguments.output:
        write_json_atomic(arguments.output, values, indent=1)


if __name__ == "__main__":
    main()
