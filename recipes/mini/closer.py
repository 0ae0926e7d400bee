"""Gain and cost of ``zoom``: names of categories on photographs of COCO and MSRC that were not trained on.

``python -m recipes.mini.closer --photos FOLDER`` prints, for the image alone and with enlarged parts, rows of
the table (:mod:`recipes.mini.table`) and the processor time of a photograph with all of its names. Single
objects are counted by ``python -m recipes.mini.all_objects --zoom N``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import torch

from instructseg.files import write_json_atomic
from instructseg.inference import ImagePredictor
from recipes.mini.evaluate import Result, answers_of, cases_of, judge
from recipes.mini.photographs import Photographs, read_photographs
from recipes.mini.table import rows
from recipes.mini.train import KEPT_OUT
from recipes.mini.views import whole_view

ZOOMS = (1, 2)
ROWS = ("the person, all of them: coco and msrc", "20 most frequent categories of coco", "23 kinds of msrc")
SOURCES = ("coco", "msrc")


def named(predictor: ImagePredictor, photographs: Photographs, zoom: int) -> tuple[list[Result], float]:
    """Every category of each photograph as a whole, and the mean processor time of a photograph in seconds."""
    results, seconds = list[Result](), 0.0
    for photograph in photographs:
        view = whole_view(photograph, 200)
        cases = [one for one in cases_of(photographs, photograph, view) if one.kind == "category"]
        start = time.process_time()
        found = answers_of(predictor, view.frame, [one.text for one in cases], True, zoom)
        seconds += time.process_time() - start
        results += [judge(case, view.masks, *one) for case, one in zip(cases, found, strict=True)]
    return results, seconds / max(1, len(photographs.images))


def main() -> None:
    """Reads the command line, measures, prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of annotations.json and images/")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--output", type=Path, help="also writes the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trained = read_photographs(arguments.photos, "train", KEPT_OUT)
    photographs = read_photographs(arguments.photos, "val", KEPT_OUT)
    photographs = replace(photographs, images=tuple(one for one in photographs.images if one.source in SOURCES))
    predictor, found = ImagePredictor.from_pretrained(arguments.model, "cpu"), []
    for zoom in ZOOMS:
        results, seconds = named(predictor, photographs, zoom)
        values = [row.values() for row in rows(results, trained) if row.name in ROWS]
        found.append({"zoom": zoom, "seconds": seconds, "rows": values})
        for one in values:
            print(f"| {one['row']} | {zoom} | {one['value']:.3f} | {one['low']:.2f} to {one['high']:.2f} |")
        print(f"{seconds:.2f} s a photograph", flush=True)
    if arguments.output:
        write_json_atomic(arguments.output, {"model": arguments.model, "found": found}, indent=1)


if __name__ == "__main__":
    main()
