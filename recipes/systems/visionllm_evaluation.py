"""Held-out figures of VisionLLM on drawn scenes: lists, excluded classes, polygons, phrases, unseen wording.

AP is by pycocotools, of boxes at an IoU of .5, of masks as in COCO. Beside the figures stand what the codec
allows, and what luck gives.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from instructseg.masks import mask_to_rle
from instructseg.systems.codecs import box_overlap
from instructseg.systems.locations import from_bins, mask_box, mask_polygon, polygon_mask, to_bins
from instructseg.systems.visionllm.class_dictionary import ClassRequest, OutputFormat
from instructseg.systems.visionllm.visionllm_predictor import VisionLLMPredictor
from recipes.systems.scenes import SHAPES, Scene, draw_scene
from recipes.systems.task_row import task_row
from recipes.systems.visionllm_lessons import (
    LISTS,
    PHRASES,
    UNSEEN_LISTS,
    UNSEEN_PHRASES,
    listed,
)

SEED = 1_000_003
"""Of the scenes; lessons draw from small seeds."""
PAPER = {8: "COCO mask AP 18.5", 14: "22.9", 16: "24.2", 24: "25.1"}
"""Of N points, table 2b."""
POINTS = tuple(PAPER)
SIDE = 64


def measure(name: str, scenes: int, as_paper: bool = False) -> dict[str, Any]:
    """Figures on held-out scenes, for :mod:`recipes.systems.table`; AP, P@.5 and recall are the paper's, too.

    Args:
        name: of the model, or its folder.
        scenes: of all tasks.
        as_paper: changes nothing: the protocols are the same.
    """
    predictor = VisionLLMPredictor.from_pretrained(name)
    rng = np.random.default_rng(SEED)
    drawn = [draw_scene(rng) for _ in range(scenes)]
    boxes = [average_precision(predictor, drawn, OutputFormat(), some) for some in (LISTS, UNSEEN_LISTS)]
    tasks = {
        "detect a list": task_row("AP50", (boxes[0], boxes[1]), 1.0, None, ">.6", "COCO AP 44.6 (ResNet-50)")
    }
    (hits, luck), (again, _) = (grounding(predictor, drawn, some) for some in (PHRASES, UNSEEN_PHRASES))
    tasks["ground a phrase"] = task_row("P@.5", (hits, again), 1.0, luck, ">.6", "RefCOCO P@.5 80.6")
    for points in POINTS:
        found = average_precision(predictor, drawn, OutputFormat(points), LISTS)
        limit = ceiling(drawn, points, predictor.model.config.half_bins)
        row = task_row("mask AP", (found, None), f"IoU {limit:.3f}", None, None, PAPER[points])
        tasks[f"polygons of {points} points"] = row
    included, excluded = list_hits(predictor, drawn)
    least = predictor.model.config.min_score
    metric = f"recall at a score of {least:.2f}"
    out, kept = (float((some >= least).mean()) for some in (excluded, included))
    tasks["classes left out"] = task_row(metric, (out, None), None, None, "<.05", "about 0 (40 of 80 classes)")
    tasks["classes in the prompt"] = task_row(metric, (kept, None), 1.0, None, None, None)
    protocol = "paper" if as_paper else "honest"
    return {"system": "VisionLLM (tiny)", "protocol": protocol, "scenes": scenes, "tasks": tasks}


def asked(names: Sequence[str], wordings: Sequence[str], number: int, output: OutputFormat) -> ClassRequest:
    """A request for classes in one of the wordings, by turns."""
    text = wordings[number % len(wordings)].format(listed([name + "s" for name in names]))
    return ClassRequest(text, tuple(names), output)


def average_precision(
    predictor: VisionLLMPredictor, scenes: Sequence[Scene], output: OutputFormat, wordings: Sequence[str]
) -> float:
    """AP of the three shapes, all in the prompt: of boxes at .5, or of masks at .5 to .95 for polygons."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        for one in scene.objects:
            left, top, right, bottom = mask_box(one.mask).reshape(4) * SIDE
            shape: dict[str, Any] = {"bbox": [left, top, right - left, bottom - top]}
            shape |= {"segmentation": mask_to_rle(one.mask), "area": float(one.mask.sum()), "iscrowd": 0}
            named = {"image_id": number, "category_id": SHAPES.index(one.shape) + 1}
            annotations.append({"id": len(annotations) + 1, **named, **shape})
        for found in predictor.detect(scene.image, asked(SHAPES, wordings, number, output)):
            scored: dict[str, Any] = {"image_id": number, "category_id": found.name + 1}
            scored["score"] = found.score
            if output.points is None:
                left, top, right, bottom = found.corners.reshape(4) * SIDE
                results.append({**scored, "bbox": [left, top, right - left, bottom - top]})
            else:
                results.append({**scored, "segmentation": mask_to_rle(found.mask(SIDE, SIDE))})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": n, "height": SIDE, "width": SIDE} for n in range(1, len(scenes) + 1)],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(SHAPES, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox" if output.points is None else "segm")
        if output.points is None:
            evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    return float(precision[precision > -1].mean())


def grounding(
    predictor: VisionLLMPredictor, scenes: Sequence[Scene], wordings: Sequence[str]
) -> tuple[float, float]:
    """Share of phrases, each of one object, whose best box has an IoU of .5; and that of an object by luck."""
    hits, luck, number = [], [], 0
    for scene in scenes:
        for one in scene.objects:
            text = wordings[number % len(wordings)].format(f"the {one.name}")
            best = predictor.detect(scene.image, ClassRequest(text, (one.name,), OutputFormat(), single=True))[
                0
            ]
            hits.append(box_overlap(best.corners.ravel(), mask_box(one.mask).ravel()) >= 0.5)
            luck.append(1 / len(scene.objects))
            number += 1
    return float(np.mean(hits)), float(np.mean(luck))


def list_hits(predictor: VisionLLMPredictor, scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Scores at which the objects of one or two shapes in the prompt are found, and those of shapes left out.

    The highest score of a box with an IoU of .5 and any label, ``float64[n]`` each; 0 without one.
    """
    included: list[float] = []
    excluded: list[float] = []
    for number, scene in enumerate(scenes):
        names = [SHAPES[(number + step) % 3] for step in range(1 + number % 2)]
        every = predictor.detect(scene.image, asked(names, LISTS, number, OutputFormat()))
        for one in scene.objects:
            box = mask_box(one.mask).ravel()
            near = [found.score for found in every if box_overlap(found.corners.ravel(), box) >= 0.5]
            (included if one.shape in names else excluded).append(max(near, default=0.0))
    return np.array(included), np.array(excluded)


def fit_threshold(predictor: VisionLLMPredictor, count: int) -> float:
    """The score that parts shapes in the prompt from shapes left out best, on other scenes (Youden's index)."""
    rng = np.random.default_rng(SEED + 1)
    included, excluded = list_hits(predictor, [draw_scene(rng) for _ in range(count)])
    cuts = np.linspace(0.05, 0.95, 91)
    gains = np.array([(included >= cut).mean() - (excluded >= cut).mean() for cut in cuts])
    return float(np.median(cuts[gains >= gains.max() - 1e-9]).round(3))


def ceiling(scenes: Sequence[Scene], points: int, half: int) -> float:
    """Mean IoU of masks with their own polygons through the location tokens."""
    values = []
    for scene in scenes:
        for one in scene.objects:
            centre = mask_box(one.mask).mean(0)
            offsets = from_bins(to_bins(mask_polygon(one.mask, points) - centre, half), half)
            back = polygon_mask(centre + offsets, SIDE, SIDE)
            values.append((one.mask & back).sum() / (one.mask | back).sum())
    return float(np.mean(values))
