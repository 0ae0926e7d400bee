"""Gain and cost of ``consensus``: instructions asked in 1 and in 3 wordings, as users get their answers.

python -m recipes.consensus [--photos FOLDER] [--instructions 300]

``nano`` is asked about drawn scenes of the split ``test``, ``mini`` about photographs that it was not trained
on (``--photos``). An answer is exact where as many objects as are meant have a mask of their own that overlaps
theirs by more than half.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from instructseg.evaluation.sums import mean
from instructseg.inference import ImagePredictor
from instructseg.masks import mask_iou
from recipes.mini.evaluate import cases_of
from recipes.mini.photographs import read_photographs
from recipes.mini.train import KEPT_OUT
from recipes.mini.views import whole_view
from recipes.nano.config import load_config
from recipes.nano.evaluation.all_objects import matched
from recipes.nano.evaluation.held_out import synthetic_dataset

COUNTS = (1, 3)
_SIDE = 384  # longest, of the photographs
Question = tuple[str, np.ndarray]
"""Instruction, and the objects that it means, ``bool[N, H, W]``."""


def drawn(kind: str) -> Iterator[tuple[np.ndarray, list[Question]]]:
    """Drawn scenes with instructions of a kind."""
    data = load_config("configs/nano/test.yaml").data
    dataset = synthetic_dataset(data, "test", False, 10**6, {kind: 1.0})
    for index in range(len(dataset)):
        one = dataset.scene(index)
        ids = one.scene.ids[one.key]
        asked = [(said.text, np.stack([ids == i + 1 for i in said.targets])) for said in one.expressions]
        yield one.scene.frames[one.key], asked


def photographed(photos: Path, several: bool) -> Iterator[tuple[np.ndarray, list[Question]]]:
    """Photographs with references to one object, or to several."""
    photographs = read_photographs(photos, "val", KEPT_OUT)
    for photograph in photographs:
        view = whole_view(photograph, _SIDE)
        asked = []
        for case in cases_of(photographs, photograph, view):
            right = len(case.wanted) > 1 if several else len(case.wanted) == 1
            if right and case.kind not in ("category", "absent"):
                asked.append((case.text, view.masks[list(case.wanted)].astype(bool)))
        yield view.frame, asked


def measure(
    predictor: ImagePredictor, asked: Iterable[tuple[np.ndarray, list[Question]]], instructions: int
) -> Iterator[str]:
    """Rows of the table: wordings, mean IoU of the union, share of exact answers, seconds per instruction."""
    flat = ((image, *question) for image, questions in asked for question in questions)
    found: dict[int, list[tuple[float, float, float]]] = {count: [] for count in COUNTS}
    shown, encoded = None, None
    for image, text, truth in islice(flat, instructions):
        if image is not shown:
            shown, encoded = image, predictor.encode(image)
        assert encoded is not None
        for count in COUNTS:
            start = time.process_time()
            some = [one for one in predictor.predict(encoded, text, consensus=count) if one.found]
            seconds = time.process_time() - start
            union, wanted = np.zeros_like(truth[0]), np.asarray(truth.any(0))
            for one in some:
                union |= one.mask
            right = float(sum(matched(some, truth)) == len(some) == len(truth))
            found[count].append((mask_iou(union, wanted, empty=0.0), right, seconds))
    for count, rows in found.items():
        iou, exact, seconds = (mean(column) for column in zip(*rows, strict=True))
        yield f"{count} | {100 * iou:.1f} | {100 * exact:.1f} | {1000 * seconds:.0f} ms | {len(rows)}"


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of annotations.json and images/, for mini")
    parser.add_argument("--instructions", type=int, default=300, help="of each row")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | instructions | wordings | gIoU | exact | time of one | n |\n|---|---|---|---|---|---|---|")
    for name in ("nano", "mini") if arguments.photos else ("nano",):
        predictor = ImagePredictor.from_pretrained(name, "cpu")
        for several in (False, True):
            if name == "nano":
                asked = drawn("several" if several else "relation")
            else:
                asked = photographed(arguments.photos, several)
            for row in measure(predictor, asked, arguments.instructions):
                print(f"| {name} | {'several objects' if several else 'one object'} | {row} |", flush=True)


if __name__ == "__main__":
    main()
