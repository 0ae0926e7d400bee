"""Held-out figures of InstructSeq on drawn scenes: masks, class maps, boxes, captions, confidence.

Beside the figures stand what the codec allows, what luck gives, and one sample in place of several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from instructseg.evaluation.calibration import calibration_error, fit_temperature_and_shift
from instructseg.systems.codecs import box_overlap, decode_classes
from instructseg.systems.instructseq.instructseq_predictor import InstructSeqPredictor
from instructseg.systems.instructseq.sequence_answer import YES, SequenceAnswer
from instructseg.systems.locations import mask_box
from instructseg.systems.sequence.agreement import mask_overlap
from instructseg.systems.sequence.sampling import SampledAnswers, SamplingOptions
from instructseg.systems.sequence.visual_codes import prepare_images, restore_image
from recipes.systems.instructseq_lessons import (
    DESCRIBED,
    LINES,
    MAP_COLOURS,
    SIDE,
    SequenceLesson,
    describe,
    draw_lesson,
)
from recipes.systems.scenes import SHAPES
from recipes.systems.task_row import task_row

SEED = 1_000_003
"""Of the scenes; lessons draw from small seeds."""
SAMPLES = 6
WRONG = 0.1
"""Share of a cell's pixels that may be wrong in a cell that is right."""
UNKNOWN = "blob"
"""A word that no lesson has, in place of a shape's name."""


def measure(name: str, scenes: int, as_paper: bool = False) -> dict[str, Any]:
    """Figures on held-out scenes, for :mod:`recipes.systems.table`.

    Args:
        name: of the model, or its folder.
        scenes: of each task and wording.
        as_paper: changes nothing: the protocols are the same.
    """
    predictor = InstructSeqPredictor.from_pretrained(name)
    seen, unseen = (Sampled(predictor, draw_lessons("segment", scenes, held_out)) for held_out in (False, True))
    limit = float(np.mean([codec_overlap(predictor, one) for one in seen.lessons]))
    luck = chance_object(seen.lessons)
    together, alone = ((of(seen), of(unseen)) for of in (Sampled.overlap, Sampled.single_overlap))
    errors = seen.calibration_error(), unseen.calibration_error()
    sure = seen.calibration_error(certain=True)
    paper = "RefCOCO oIoU {}".format
    tasks: dict[str, Any] = {
        "segment a phrase, 6 samples": task_row(
            "mIoU", together, limit, luck, ">.7 of ceiling", paper("59.60, of 10")
        ),
        "segment a phrase, one sample": task_row(
            "mIoU", alone, limit, luck, "3 points below 6", paper("53.07")
        ),
        "confidence of painted cells": task_row("ECE", errors, None, sure, "calibrated", None),
    }
    tasks["segment a description"] = _descriptions(predictor, scenes, limit)
    tasks["name the classes of pixels"] = _semantic(predictor, scenes)
    tasks["box of a phrase"] = _boxes(predictor, scenes)
    tasks["is it there, as a question"] = _questions(predictor, scenes)
    tasks["caption"] = _captions(predictor, scenes)
    protocol = "paper" if as_paper else "honest"
    return {"system": "InstructSeq (tiny)", "protocol": protocol, "scenes": scenes, "tasks": tasks}


def draw_lessons(task: str, count: int, held_out: bool, seed: int = SEED) -> list[SequenceLesson]:
    """Scenes of the evaluation, phrases on those with siblings alone; the same for both kinds of wording."""
    rng = np.random.default_rng(seed)
    lessons = [draw_lesson(rng, task) for _ in range(count)]
    lines = LINES[task].held_out if held_out else LINES[task].train
    return [replace(one, line=lines[place % len(lines)]) for place, one in enumerate(lessons)]


def chance_object(lessons: Sequence[SequenceLesson]) -> float:
    """Chance that an object that is chosen at random is the right one."""
    return float(np.mean([1 / len(one.scene.objects) for one in lessons]))


class Sampled:
    """Samples of lessons of a task, and their answers; these may be of any form.

    Args:
        predictor: to be measured.
        lessons: what is asked.
    """

    def __init__(self, predictor: InstructSeqPredictor, lessons: Sequence[SequenceLesson]) -> None:
        self.predictor, self.lessons = predictor, lessons
        self.drawn: SampledAnswers = predictor.sample(
            [one.scene.image for one in self.lessons],
            [one.instruction for one in self.lessons],
            SamplingOptions(samples=SAMPLES, temperature=predictor.model.config.temperature, seed=1),
        )
        every = list(zip(self.drawn.tokens.numpy(), self.drawn.probabilities.numpy(), strict=True))
        read = predictor.reader.read
        self.together = [read(*one, SIDE, SIDE) for one in every]
        self.alone = [
            [read(tokens[k : k + 1], chances[k : k + 1], SIDE, SIDE) for k in range(SAMPLES)]
            for tokens, chances in every
        ]

    def overlap(self) -> float:
        """Mean IoU of masks of all samples together."""
        pairs = zip(self.together, self.lessons, strict=True)
        return float(np.mean([_overlap(answer, lesson) for answer, lesson in pairs]))

    def single_overlap(self) -> float:
        """Mean IoU of the mask of a single sample, over all samples."""
        pairs = zip(self.alone, self.lessons, strict=True)
        return float(np.mean([_overlap(one, lesson) for some, lesson in pairs for one in some]))

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Confidence of cells that answer or truth paints, ``float[n]``, and whether they are right."""
        side = self.predictor.reader.visual.side
        sure: list[np.ndarray] = []
        right: list[np.ndarray] = []
        for answer, lesson in zip(self.together, self.lessons, strict=True):
            if answer.mask is None or answer.confidence is None:
                continue
            truth = lesson.mask
            painted = _by_cell(answer.mask | truth, side) > 0
            confidence = cv2.resize(answer.confidence, (side, side), interpolation=cv2.INTER_AREA)
            sure.append(confidence[painted])
            right.append((_by_cell(answer.mask ^ truth, side) <= WRONG)[painted])
        return np.concatenate([np.zeros(0), *sure]), np.concatenate([np.zeros(0, bool), *right])

    def calibration_error(self, certain: bool = False) -> float:
        """ECE of painted cells, of the model's confidence or of certainty; 1 without a cell."""
        sure, right = self.cells()
        if not len(sure):
            return 1.0
        return float(calibration_error(np.ones_like(sure) if certain else sure, right))


def _by_cell(mask: np.ndarray, side: int) -> np.ndarray:
    """Share of each cell's pixels in a mask, ``float32[h, h]``."""
    return cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)


def _overlap(answer: SequenceAnswer, lesson: SequenceLesson) -> float:
    """IoU of the mask; 0 for an answer of another form."""
    return 0.0 if answer.mask is None else mask_overlap(answer.mask, lesson.mask)


def codec_image(predictor: InstructSeqPredictor, image: np.ndarray) -> np.ndarray:
    """An image through the VQ model, ``uint8[S, S, 3]``."""
    visual = predictor.reader.visual
    codes = visual.encode(prepare_images([image], visual.size).to(predictor.model.device))
    return restore_image(visual.decode(codes)[0], *image.shape[:2])


def codec_overlap(predictor: InstructSeqPredictor, lesson: SequenceLesson) -> float:
    """IoU of a perfect mask that the VQ model draws again."""
    colour = np.array(lesson.image[lesson.mask][0], np.float32)
    back = codec_image(predictor, lesson.image).astype(np.float32) @ colour / (colour @ colour)
    return mask_overlap(back > 0.5, lesson.mask)


def class_overlap(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """mIoU over classes, none included, of class maps and their truths over all images."""
    shared, joined = np.zeros(len(SHAPES) + 1), np.zeros(len(SHAPES) + 1)
    for found, truth in pairs:
        for number in range(len(joined)):
            shared[number] += np.count_nonzero((found == number) & (truth == number))
            joined[number] += np.count_nonzero((found == number) | (truth == number))
    return float((shared / np.maximum(joined, 1)).mean())


def _semantic(predictor: InstructSeqPredictor, count: int) -> dict[str, Any]:
    """Class maps by vote, beside the VQ model's own and none anywhere."""
    values, nothing = [], np.zeros((SIDE, SIDE), np.int64)
    for held_out in (False, True):
        drawn = Sampled(predictor, draw_lessons("semantic", count, held_out))
        found = [nothing if one.classes is None else one.classes for one in drawn.together]
        values.append(class_overlap([(a, b.classes) for a, b in zip(found, drawn.lessons, strict=True)]))
    lessons = draw_lessons("semantic", count, False)
    drawn_again = [decode_classes(codec_image(predictor, one.image), MAP_COLOURS) for one in lessons]
    limit = class_overlap([(a, b.classes) for a, b in zip(drawn_again, lessons, strict=True)])
    empty = class_overlap([(nothing, one.classes) for one in lessons])
    return task_row("mIoU", (values[0], values[1]), limit, empty, None, "COCO-Stuff mIoU 47.22, of 10")


def _boxes(predictor: InstructSeqPredictor, count: int) -> dict[str, Any]:
    """P@.5 of boxes that agree best, beside a random object's."""
    values = []
    for held_out in (False, True):
        drawn = Sampled(predictor, draw_lessons("detect", count, held_out))
        pairs = zip(drawn.together, drawn.lessons, strict=True)
        values.append(float(np.mean([_box_hit(answer, lesson) for answer, lesson in pairs])))
    luck = chance_object(draw_lessons("detect", count, False))
    return task_row("P@.5", (values[0], values[1]), 1.0, luck, ">.5", "RefCOCO AP50 75.22, of 10")


def _box_hit(answer: SequenceAnswer, lesson: SequenceLesson) -> bool:
    return answer.box is not None and box_overlap(answer.box, mask_box(lesson.mask).ravel()) >= 0.5


def _descriptions(predictor: InstructSeqPredictor, count: int, limit: float) -> dict[str, Any]:
    """Masks of objects whose shape is described, not named; beside a name that the model does not know."""
    values = []
    for lines in (DESCRIBED.train, DESCRIBED.held_out):
        some = [
            replace(one, phrase=describe(one.name, lines[place % len(lines)]))
            for place, one in enumerate(draw_lessons("segment", count, False))
        ]
        values.append(Sampled(predictor, some).overlap())
    unknown = [
        replace(one, phrase=f"{one.name.split()[0]} {UNKNOWN}") for one in draw_lessons("segment", count, False)
    ]
    return task_row("mIoU", (values[0], values[1]), limit, Sampled(predictor, unknown).overlap(), None, None)


def _right_texts(predictor: InstructSeqPredictor, task: str, count: int) -> tuple[float, float]:
    """Share of answers that are right word by word, in seen and in unseen wording."""
    values = []
    for held_out in (False, True):
        drawn = Sampled(predictor, draw_lessons(task, count, held_out))
        pairs = zip(drawn.together, drawn.lessons, strict=True)
        values.append(float(np.mean([answer.text == lesson.text for answer, lesson in pairs])))
    return values[0], values[1]


def _questions(predictor: InstructSeqPredictor, count: int) -> dict[str, Any]:
    """Share of the questions that are answered rightly, half of them of absent objects; beside one answer."""
    values = _right_texts(predictor, "question", count)
    yes = float(np.mean([one.text == YES for one in draw_lessons("question", count, False)]))
    return task_row("accuracy", values, 1.0, max(yes, 1 - yes), None, None)


def _captions(predictor: InstructSeqPredictor, count: int) -> dict[str, Any]:
    """Share of captions that are right word by word, beside the most frequent one."""
    values = _right_texts(predictor, "caption", count)
    texts = Counter(one.text for one in draw_lessons("caption", count, False))
    luck = texts.most_common(1)[0][1] / count
    return task_row("exact", values, 1.0, luck, ">.5", "COCO BLEU 35.00, beams of 6")


def fit_calibration(predictor: InstructSeqPredictor, count: int) -> tuple[float, float]:
    """Temperature and shift of the confidence of painted cells, on other scenes; 1 and 0 if all are alike.

    Codes that look alike share the probability of a cell that is right, so it is too low as a whole.
    """
    config = predictor.model.config
    config.calibration, config.calibration_shift = 1.0, 0.0
    sure, right = Sampled(predictor, draw_lessons("segment", count, False, SEED + 1)).cells()
    if right.all() or not right.any():
        return 1.0, 0.0
    temperature, shift = fit_temperature_and_shift(sure, right)
    return round(temperature, 3), round(shift, 3)
