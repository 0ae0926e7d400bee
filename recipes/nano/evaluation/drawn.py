"""Answers of a model to instructions on drawn scenes, beside the truth and a guess."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from instructseg.data.frames import neighbour_references
from instructseg.evaluation.iou import intersection_union
from instructseg.evaluation.jf import region_and_boundary
from instructseg.evaluation.sums import mean
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction
from instructseg.inference.postprocess import postprocess
from instructseg.inference.selection import AnswerRule
from instructseg.prediction import Prediction
from instructseg.structures import Sample
from recipes.nano.evaluation.plain_drawings import Drawing, PlainDrawings
from recipes.nano.synthetic import DrawnScene, SyntheticDataset

if TYPE_CHECKING:
    from instructseg.processing import InstructSegProcessor

BATCH_ROWS = 32
"""Rows of one batch, or a few more: the instructions on a scene stay together."""
MAX_NEW_TOKENS = 16
"""Longest reply to a plain question, in tokens; the right ones are one word."""


@dataclass(frozen=True)
class Outcome:
    """Scores of one instruction.

    Attributes:
        has_target: whether a mask is asked for and something answers.
        score: 0..1: IoU; over a whole video the mean of J&F; of a question 1 where the reply is right.
        chance: the mean score of the objects in sight, each taken as the answer; 0 without a mask.
        intersection: pixels, on the key frame.
        union: likewise.
        chance_intersection: mean over the objects in sight; 0 over a whole video.
        chance_union: likewise.
        presence: 0..1, of the model, on the key frame.
        answer: the right reply to a question.
    """

    scene: str
    kind: str
    form: str
    has_target: bool
    score: float = 0.0
    chance: float = 0.0
    intersection: int = 0
    union: int = 0
    chance_intersection: float = 0.0
    chance_union: float = 0.0
    presence: float = 0.0
    answer: str = ""


def measure(
    model: Any,
    processor: InstructSegProcessor,
    dataset: SyntheticDataset | PlainDrawings,
    instructions: int | None = None,
    whole_clips: bool = False,
    copies: bool = False,
    threshold: float = 0.0,
) -> Iterator[Outcome]:
    """Asks about the scenes of a data set, in order.

    Args:
        model: ``InstructSeg``; without ``whole_clips`` and questions anything that is called like it.
        instructions: ends after the scene with the last of them; ``None`` for all scenes.
        whole_clips: each frame is the key frame in turn, its neighbours are the references. Otherwise the
            drawn key frame alone is looked at.
        copies: of the key frame stand in for the references; with ``whole_clips``.
        threshold: presence (0..1) below which a mask is empty.
    """
    asked = 0
    waiting: list[DrawnScene | Drawing] = []
    for index in range(len(dataset)):
        drawn = dataset.scene(index)
        asked += len(drawn.expressions)
        waiting.append(drawn)
        done = index + 1 == len(dataset) or (instructions is not None and asked >= instructions)
        if done or sum(len(scene.expressions) for scene in waiting) >= BATCH_ROWS:
            for scene in waiting if whole_clips else ():
                assert isinstance(scene, DrawnScene), "a drawing is no clip"
                yield from _on_clip(Encoder(model, processor, BATCH_ROWS), scene, copies, threshold)
            if not whole_clips:
                yield from _on_key_frames(model, processor, waiting, threshold)
            waiting = []
        if done:
            return


@torch.inference_mode()
def _on_key_frames(
    model: Any, processor: InstructSegProcessor, scenes: Sequence[DrawnScene | Drawing], threshold: float
) -> list[Outcome]:
    rows = [(scene, number, sample) for scene in scenes for number, sample in enumerate(scene.samples())]
    questions = [row for row in rows if not row[2].task.has_mask]
    others = [row for row in rows if row[2].task.has_mask]
    weight = next(model.parameters())
    found = []
    if questions:
        inputs = processor([sample for *_, sample in questions]).to(weight.device, weight.dtype)
        written = model.answer(inputs, MAX_NEW_TOKENS, (processor.seg_token_id,))
        for (scene, _, sample), ids in zip(questions, written, strict=True):
            kind, form, right = sample.meta["kind"], sample.meta["form"], sample.answer or ""
            score = float(processor.decode(ids) == right)
            found.append(Outcome(scene.name, kind, form, False, score, answer=right))
    if others:
        inputs = processor([sample for *_, sample in others]).to(weight.device, weight.dtype)
        answers = postprocess(model(inputs), inputs, threshold=threshold)
        for (scene, _, sample), prediction in zip(others, answers, strict=True):
            found.append(_outcome(scene, sample, prediction))
    return found


def _outcome(scene: DrawnScene | Drawing, sample: Sample, prediction: Prediction) -> Outcome:
    """Of one mask on the key frame."""
    assert sample.masks is not None and sample.distractors is not None
    kind, form = sample.meta["kind"], sample.meta["form"]
    if not len(sample.masks):
        return Outcome(scene.name, kind, form, False, presence=prediction.presence)
    truth = sample.masks.max(axis=0)
    inside, either = intersection_union(prediction.mask, truth)
    guesses = np.array([intersection_union(m, truth) for m in (*sample.masks, *sample.distractors)])
    guessed_inside, guessed_either = guesses.mean(axis=0).tolist()
    return Outcome(
        scene.name, kind, form, True, inside / max(1, either), float((guesses[:, 0] / guesses[:, 1]).mean()),
        inside, either, guessed_inside, guessed_either, prediction.presence,
    )  # fmt: skip


@torch.inference_mode()
def _on_clip(encoder: Encoder, drawn: DrawnScene, copies: bool, threshold: float) -> list[Outcome]:
    scene, found, rule = drawn.scene, [], AnswerRule(threshold, all_instances=False)
    encoded = [CachedFrame(frame) for frame in scene.frames]
    encoder.encode_tokens(encoded)
    encoder.encode_maps(encoded)
    visible = [i for i in range(len(scene.objects)) if scene.area(i, drawn.key)]
    for task, group in groupby(drawn.expressions, key=lambda said: said.task):
        asked = list(group)
        count = len(drawn.references)
        rows = [Instruction(i, said.text, task, encoder.processor, count) for i, said in enumerate(asked)]
        cached = [CachedFrame(one.frame, one.tokens, maps=one.maps) for one in encoded]
        masks = np.empty((len(asked), *scene.ids.shape), bool)
        presence = np.empty(len(asked))
        for t, key in enumerate(cached):
            chosen = [t] * count if copies else neighbour_references(t, len(encoded), count)
            states = encoder.reason([Pair(row, key, [cached[u] for u in chosen]) for row in rows])
            found_here = encoder.decode(key, list(zip(rows, states, strict=True)), rule)
            for row, (prediction,) in enumerate(found_here):
                masks[row, t] = prediction.mask
                if t == drawn.key:
                    presence[row] = prediction.presence
        for row, said in enumerate(asked):
            truth = np.isin(scene.ids, np.array(said.targets) + 1)
            score = _j_and_f(masks[row], truth)
            chance = mean(_j_and_f(scene.ids == i + 1, truth) for i in visible)
            inside, either = intersection_union(masks[row, drawn.key], truth[drawn.key])
            found.append(
                Outcome(
                    drawn.name, said.kind, said.form, bool(said.targets), score, chance,
                    inside, either, presence=float(presence[row]),
                )
            )  # fmt: skip
    return found


def _j_and_f(masks: np.ndarray, truth: np.ndarray) -> float:
    """The mean of both over the frames ``bool[T, H, W]``."""
    return float(np.mean(region_and_boundary(masks, truth)))
