"""VisionLLM on drawn scenes: vocabulary, batches, and the lesson for :mod:`recipes.systems.train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from instructseg.systems.visionllm.visionllm_model import VisionLLM
from instructseg.systems.visionllm.visionllm_predictor import VisionLLMPredictor
from instructseg.systems.visionllm.visionllm_processor import VisionLLMProcessor
from recipes.lesson import LessonOutput
from recipes.systems.lesson_source import LessonSource
from recipes.systems.scenes import COLOURS, SHAPES
from recipes.systems.visionllm_evaluation import fit_threshold
from recipes.systems.visionllm_lessons import LISTS, PHRASES, LessonBatch, draw_batch
from recipes.systems.visionllm_losses import answer_losses, match_objects, token_losses
from recipes.systems.visionllm_start import CLASSES, tiny_model, word_processor

OTHERS = 2
"""Image tokens without an object that a step decodes beside the matched ones."""
EXTRA = """
a above among an and any appear appears as behind belong belonging below beside big biggest black both
bottom bounding box boxes brown by can class classes color colored colour coloured contain contains corner
corners could cross crosses cut cyan detection detections diamond diamonds do does ellipse ellipses
everything five four from front gray grey has have heart hearts here hexagon hexagons highlight how i
identify instance instances it just kindly large largest left leftmost lies list look looking magenta many
mask masks middle name named near need next object objects of one ones only or orange out oval ovals
pentagon pentagons photo pick picture pink places please polygon polygons position positions predict present
provide purple put rectangle rectangles report return right rightmost ring rings scene search see select
shape shapes small smallest spot star stars tell that their them there these they thing things this those
three tiny to together top two using violet visible want what which white with would you
"""
"""Words of the vocabulary beside those of the lessons, for longer training."""
SCENES = 300
"""From which the threshold is fitted."""
FIRST_STAGE = 330
"""Steps with the three shapes at fixed tokens."""


def new_model(seed: int = 0) -> tuple[VisionLLM, VisionLLMProcessor]:
    """The tiny model with new weights, and its processor."""
    words = {word.strip("{},.?") for text in (*LISTS, *PHRASES) for word in text.split()}
    words |= {*COLOURS, *SHAPES, *(shape + "s" for shape in SHAPES), *EXTRA.split()}
    processor = word_processor(sorted(words - {""}))
    return tiny_model(processor, seed), processor


def lesson_source(processor: VisionLLMProcessor, count: int, seed: int) -> LessonSource:
    """Batches of ``count`` scenes, the first of them of the first stage."""

    def draw(rng: np.random.Generator, index: int) -> LessonBatch:
        return draw_batch(rng, processor, count, CLASSES, stage=1 if index < FIRST_STAGE else 2)

    return LessonSource(draw, count, seed)


class BindingLesson(nn.Module):
    """Losses of a batch. Of the image tokens without an object, few are decoded: the blocks are independent."""

    def __init__(self, model: VisionLLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: LessonBatch, aux: bool = True) -> LessonOutput:
        """Losses of image tokens and answers; the share of matched ones with the right class is reported."""
        found = self.model.encode(batch.pixels, batch.ids, batch.mask)
        objectness, locations = found.objectness[:, -1].float(), found.locations[:, -1].float()
        row, token, _ = match_objects(objectness, locations, batch.targets)
        first = torch.rand_like(objectness)
        first[row, token] = 2.0  # matched ones are chosen first, the others at random
        count = int(torch.bincount(row, minlength=1).max()) + OTHERS
        tokens = first.topk(min(count, first.shape[1])).indices
        answers = self.model.decode(found, batch.ids, batch.mask, batch.output, tokens)
        losses, figures = answer_losses(answers, found, batch.targets, batch.allowed, tokens)
        return LessonOutput({**token_losses(found, batch.targets), **losses}, figures)


def save(model: VisionLLM, processor: VisionLLMProcessor, folder: Path) -> None:
    """Fits the threshold on scenes of their own, and writes the model in float16."""
    model.config.min_score = fit_threshold(VisionLLMPredictor(model, processor), SCENES)
    model.processor = processor
    model.half().save_pretrained(folder)
