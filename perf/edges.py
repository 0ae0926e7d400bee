"""What moving outlines to edges of the image gains and costs: boundary F at 1, 2 and 4 pixels, J, and time.

    OMP_NUM_THREADS=1 python -m perf.edges --photos photos --json perf/results/edges.json

The masks are those that the model found well enough to have an outline in common with the truth (IoU above one
half without the step): of shapes by ``nano``, in drawings 480 pixels high, and of objects by ``mini``, in
photographs enlarged to a longer side of 640 pixels. Times are processor seconds of the step for a mask, the
first one of an image included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from instructseg.evaluation.iou import intersection_union
from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference import ImagePredictor
from instructseg.inference.edges import EdgeGuide
from perf.workload import save, weights_digest
from recipes.mini.photographs import read_photographs
from recipes.mini.words import SYNONYMS
from recipes.nano.evaluation.plain_drawings import PlainDrawings

SIDE = 640
PIXELS = (1, 2, 4)
SMALLEST = 0.005
"""Share of the image below which an object has hardly an outline."""

Case = tuple[np.ndarray, list[str], np.ndarray]
"""An image ``uint8[H, W, 3]``, N instructions, and what they mean, ``bool[N, H, W]``."""


def drawings(count: int) -> Iterator[Case]:
    """Drawings of plain shapes, by instructions for one of them."""
    source = PlainDrawings(count, seed=5)
    for index in range(count):
        scene = source.scene(index)
        asked = [one for one in scene.expressions if one.answer is None and len(one.targets) == 1]
        if asked:
            truth = np.stack([scene.masks[one.targets[0]] for one in asked])
            yield scene.image, [one.text for one in asked], truth


def photographs(root: Path) -> Iterator[Case]:
    """Photographs that were not trained on, by the names of what they have one of."""
    for photograph in read_photographs(root, "val"):
        kinds = [one.category for one in photograph.regions]
        alone = [
            one for one in photograph.regions if kinds.count(one.category) == 1 and one.category in SYNONYMS
        ]
        truth = [one.mask() for one in alone]
        kept = [number for number, mask in enumerate(truth) if mask.mean() >= SMALLEST]
        if kept:
            texts = [f"the {SYNONYMS[alone[number].category][0]}" for number in kept]
            yield _enlarged(photograph.pixels(), texts, np.stack([truth[number] for number in kept]))


def _enlarged(image: np.ndarray, texts: list[str], masks: np.ndarray) -> Case:
    """The same with a longer side of :data:`SIDE`."""
    height, width = (round(side * SIDE / max(image.shape[:2])) for side in image.shape[:2])
    large = [cv2.resize(one.astype(np.float32), (width, height)) > 0.5 for one in masks]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC), texts, np.stack(large)


def measure(predictor: ImagePredictor, cases: Iterator[Case]) -> dict[str, Any]:
    """Means over the masks, 0..1, without and with the step, and milliseconds of it."""
    found: dict[str, list[Sequence[float]]] = {"off": [], "on": []}
    spent = []
    for image, texts, truth in cases:
        shown = predictor.encode(image)
        options: dict[str, Any] = {"threshold": 0.0, "all_instances": False, "soft": True, "edges": False}
        predictions = predictor.predict(shown, texts, **options)
        assert shown.maps is not None
        guide = EdgeGuide(image, shown.maps.geometry)
        for one, wanted in zip(predictions, truth, strict=True):
            shared, union = intersection_union(one.mask, wanted)
            if one.probability is None or 2 * shared <= union:
                continue
            start = time.process_time()
            moved = guide.follow(one.probability) > 0.5
            spent.append(time.process_time() - start)
            for name, mask in (("off", one.mask), ("on", moved)):
                boundary = [float(region_and_boundary(mask, wanted, bound_th=px)[1]) for px in PIXELS]
                found[name].append([float(region_and_boundary(mask, wanted)[0]), *boundary])
    names = ("j", *(f"f{px}" for px in PIXELS))
    rows = {key: dict(zip(names, np.mean(some, axis=0).tolist(), strict=True)) for key, some in found.items()}
    return {"masks": len(spent), "ms": 1e3 * float(np.mean(spent)), **rows}


def main() -> None:
    """Measures both models."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of annotations.json and images/")
    parser.add_argument("--drawings", type=int, default=120)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = [("nano", "drawings", drawings(options.drawings))]
    if options.photos:
        sets.append(("mini", "photographs", photographs(options.photos)))
    rows = []
    for model, name, cases in sets:
        row = measure(ImagePredictor.from_pretrained(model, "cpu"), cases)
        rows.append({"model": model, "weights": weights_digest(model), "images": name, **row})
        print(rows[-1], flush=True)
    save(options.json, {"side": SIDE, "rows": rows})


if __name__ == "__main__":
    main()
