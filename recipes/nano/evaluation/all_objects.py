"""All objects that fit an instruction: fit of the cut on scenes of one seed, results on those of another.

python -m recipes.nano.evaluation.all_objects [SCENES] [MODEL]

Instructions are of three forms ("all the stars", "everything red", "all the red stars"), asked where at least
two objects fit. An object is found where a mask of its own overlaps it by more than half (IoU).
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructseg.evaluation.calibration import fit_cut
from instructseg.evaluation.sums import mean
from instructseg.inference import ImagePredictor
from instructseg.prediction import Prediction
from recipes.nano.scenes.scenes import Scene, SceneConfig, draw_scene

VAL, TEST = 10_000, 20_000
"""First seeds of the scenes."""
LEAST_PIXELS, LEAST_VISIBLE = 20, 0.5
LOWEST = 0.02
"""Cut of the candidates from which the cut is fitted."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Predictions on one instruction, and the truth.

    Attributes:
        found: by falling score.
        truth: ``bool[N, H, W]``.
        right: of each prediction, whether it is an object that no better one is.
    """

    found: Sequence[Prediction]
    truth: np.ndarray
    right: Sequence[bool]


def asked(scene: Scene) -> dict[str, list[int]]:
    """Instructions that two objects or more fit -> those objects."""
    seen = [
        i
        for i in range(len(scene.objects))
        if scene.area(i, 0) >= LEAST_PIXELS and scene.visibility[0, i] > LEAST_VISIBLE
    ]
    texts: dict[str, list[int]] = {}
    for i in seen:
        one = scene.objects[i]
        for text in (f"all the {one.shape}s", f"everything {one.colour}", f"all the {one.colour} {one.shape}s"):
            texts.setdefault(text, []).append(i)
    return {text: fitting for text, fitting in texts.items() if len(fitting) > 1}


def answered(predictor: ImagePredictor, first: int, scenes: int) -> Iterator[Answer]:
    """Asks about scenes of consecutive seeds; presence plays no part."""
    config = SceneConfig(height=(96, 192), width=(96, 192), objects=(3, 5), related=0.8)
    for seed in range(first, first + scenes):
        scene = draw_scene(np.random.default_rng(seed), config)
        texts = asked(scene)
        found = (
            predictor.predict(scene.frames[0], list(texts), threshold=0, all_instances=True) if texts else []
        )
        for place, fitting in enumerate(texts.values()):
            some = [one for one in found if one.instruction_id == place and one.found]
            truth = np.stack([scene.ids[0] == i + 1 for i in fitting])
            yield Answer(some, truth, matched(some, truth))


def matched(found: Sequence[Prediction], truth: np.ndarray) -> list[bool]:
    """Whether each prediction, the best first, overlaps an object that none before it did by more than half."""
    free, right = list(truth), []
    for one in found:
        ious = [(one.mask & mask).sum() / (one.mask | mask).sum() for mask in free]
        best = int(np.argmax(ious)) if ious else 0
        right.append(bool(ious) and bool(ious[best] > 0.5))
        if right[-1]:
            free.pop(best)
    return right


def figures(answers: Sequence[Answer], cut: float) -> dict[str, float]:
    """Precision, recall, F1 and AP50 of objects, share of exact answers, gIoU of the union; all 0..1."""
    hits = kept = targets = 0
    exact, overlap = list[float](), list[float]()
    for answer in answers:
        count = sum(one.score >= cut for one in answer.found) or min(1, len(answer.found))
        right = sum(answer.right[:count])
        hits, kept, targets = hits + right, kept + count, targets + len(answer.truth)
        exact.append(float(right == count == len(answer.truth)))
        truth = answer.truth.any(0)
        union = np.any([one.mask for one in answer.found[:count]], axis=0) if count else np.zeros_like(truth)
        overlap.append(float((union & truth).sum() / (union | truth).sum()))
    precision, recall = hits / max(kept, 1), hits / targets
    return {
        "precision": precision,
        "recall": recall,
        "F1": 2 * hits / (kept + targets),
        "exact": mean(exact),
        "gIoU": mean(overlap),
        "AP50": average_precision(answers),
    }


def average_precision(answers: Sequence[Answer]) -> float:
    """AP at an IoU of 0.5 over all instructions, by pycocotools; each instruction is an image of its own."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = list[dict[str, object]](), list[dict[str, object]]()
    for number, answer in enumerate(answers, 1):
        for mask in answer.truth:
            row = Prediction(mask, 1, 1).to_coco(number, len(truth) + 1)
            truth.append(row)
        found += [one.to_coco(number) for one in answer.found]
    sizes = [answer.truth.shape[1:] for answer in answers]
    images = [{"id": number, "height": h, "width": w} for number, (h, w) in enumerate(sizes, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": truth, "categories": [{"id": 1}]}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    return float(evaluation.eval["precision"][0, :, 0, 0, -1].mean())


def main(scenes: int = 150, model: str | None = None) -> None:
    """Fits the cut and prints the figures."""
    predictor = ImagePredictor.from_pretrained(model, "cpu")
    own = predictor.processor.config.instance_threshold
    predictor.processor.config = replace(predictor.processor.config, instance_threshold=LOWEST)
    val, test = (list(answered(predictor, first, scenes)) for first in (VAL, TEST))
    pairs = [
        (one.score, right) for answer in val for one, right in zip(answer.found, answer.right, strict=True)
    ]
    cut, f1 = fit_cut(
        [score for score, _ in pairs], [right for _, right in pairs], sum(len(a.truth) for a in val)
    )
    print(f"val: {len(val)} instructions, cut {cut:.4f}, F1 {f1:.3f}; with the weights: {own}")
    for value in dict.fromkeys((own or cut, 0.5)):
        row = ", ".join(f"{name} {100 * share:.1f}" for name, share in figures(test, value).items())
        print(f"test: {len(test)} instructions, cut {value}: {row}")


if __name__ == "__main__":
    main(*(int(word) if word.isdigit() else word for word in sys.argv[1:]))  # type: ignore[arg-type]
