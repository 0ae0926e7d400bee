"""InstructCV on drawn scenes: four tasks, each answer an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from instructseg.systems.codecs import (
    COLOURS,
    Rgb,
    box_overlap,
    decode_boxes,
    decode_depth,
    decode_mask,
    decode_presence,
    encode_boxes,
    encode_depth,
    encode_mask,
    encode_presence,
)
from instructseg.systems.instructcv.asked_task import CV_TASKS, CvTask
from instructseg.systems.instructcv.instructcv_config import InstructCVConfig
from instructseg.systems.instructcv.instructcv_predictor import LEAST_AREA, InstructCVPredictor
from instructseg.systems.instructcv.tiny_pipeline import tiny_pipeline
from recipes.lesson import LessonOutput, moved
from recipes.systems.bank import BANK, PAIRS, shortened, vocabulary, with_fillers
from recipes.systems.lesson_source import LessonSource
from recipes.systems.scenes import ALL_NAMES, FAR, Scene, draw_scene

SETTINGS = InstructCVConfig(
    image_size=32,
    steps=1,  # the mean answer: a UNet of this width passes on little of the noise, which stays in later steps
    text_guidance=1.0,  # none: it draws a mean answer beyond its colours, and breaks lines and depth
    image_guidance=1.0,
    box_colour=COLOURS["magenta"],
    smooth_boxes=False,
    far=FAR,
    patch=4,
)
"""Of the tiny model."""
SEED = 20_000
"""Of the scenes of the evaluation; training draws others."""
TURNS: tuple[CvTask, ...] = (
    "segment",
    "detect",
    "classify",
    "segment",
    "detect",
    "classify",
    "segment",
    "depth",
)
"""Tasks of a batch, in turn: depth names no object and is learned first."""
LINE_WEIGHT = 8.0
"""Added weight of a detection's lines around any object, asked for or not: they are few."""
ABSENT = {"segment": 0.25, "detect": 0.25, "classify": 0.5}
"""Shares of the tasks that name an object which is not there: nothing is painted, no box drawn, no is right."""


@dataclass(frozen=True)
class DrawnTask:
    """A scene, what is asked of it, and the image that answers.

    Attributes:
        scene: of :mod:`recipes.systems.scenes`.
        task: of :data:`~instructseg.systems.instructcv.asked_task.CV_TASKS`.
        line: of the bank.
        name: the object in question.
        pair: names of the colours for yes and no.
        answer: ``uint8[S, S, 3]``.
    """

    scene: Scene
    task: str
    line: str
    name: str
    pair: tuple[str, str]
    answer: np.ndarray

    @property
    def instruction(self) -> str:
        """The line with its words."""
        return self.line.format(object=self.name, yes=self.pair[0], no=self.pair[1])

    @property
    def colours(self) -> tuple[Rgb, Rgb]:
        """Those for yes and no."""
        return COLOURS[self.pair[0]], COLOURS[self.pair[1]]


def draw_task(rng: np.random.Generator, task: str, absent: float | None = None) -> DrawnTask:
    """A random scene with an instruction of a task.

    Args:
        rng: source of all that is random.
        task: of ``CV_TASKS``.
        absent: share of the tasks that name an object which is not there; ``None`` for that of :data:`ABSENT`.
    """
    scene, pair = draw_scene(rng, SETTINGS.image_size), PAIRS[int(rng.integers(len(PAIRS)))]
    found = scene.objects[int(rng.integers(len(scene.objects)))]
    missing = bool(rng.random() < (ABSENT.get(task, 0.0) if absent is None else absent))
    name = str(rng.choice([one for one in ALL_NAMES if one not in scene.names])) if missing else found.name
    drawn = DrawnTask(scene, task, BANK[task].draw(rng), name, pair, scene.image)
    return replace(drawn, answer=_answer(drawn))


def _answer(asked: DrawnTask) -> np.ndarray:
    """The image that answers, ``uint8[S, S, 3]``."""
    scene = asked.scene
    named = [one for one in scene.objects if one.name == asked.name]
    match asked.task:
        case "segment":
            return encode_mask(named[0].mask if named else np.zeros(scene.depth.shape, bool))
        case "detect":
            return encode_boxes(scene.image, [one.box for one in named], SETTINGS.box_colour)
        case "depth":
            return encode_depth(scene.depth, SETTINGS.far)
        case _:
            return encode_presence(bool(named), asked.colours, scene.depth.shape)


@dataclass(frozen=True, eq=False)
class DrawnBatch:
    """B drawn tasks.

    Attributes:
        image, answer: ``float[B, 3, S, S]``, -1..1.
        ids: ``int64[B, L]``, tokens of the instructions.
        tasks: number of each in ``CV_TASKS``, ``int64[B]``.
        lines: 1 where a detection could draw, around any object, ``float[B, 3, S, S]``.
        labels: ``None``: no text is learned.
    """

    image: torch.Tensor
    answer: torch.Tensor
    ids: torch.Tensor
    tasks: torch.Tensor
    lines: torch.Tensor
    labels: None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> DrawnBatch:
        """Moves the tensors to ``device``."""
        return moved(self, device)


def lesson_source(tokenizer: Any, count: int, seed: int) -> LessonSource:
    """Batches of ``count`` drawn tasks."""
    return LessonSource(lambda rng, _: drawn_batch(rng, tokenizer, count), count, seed)


def drawn_batch(rng: np.random.Generator, tokenizer: Any, count: int) -> DrawnBatch:
    """Tasks of every kind, with the instructions' tokens of the pipeline's ``tokenizer``."""
    some = [draw_task(rng, TURNS[place % len(TURNS)]) for place in range(count)]
    texts = [_varied(rng, one, tokenizer) for one in some]
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)
    image, answer = _floats([one.scene.image for one in some]), _floats([one.answer for one in some])
    tasks = torch.tensor([CV_TASKS.index(one.task) for one in some])  # type: ignore[arg-type]
    lines = torch.stack([_lines(one) for one in some])
    return DrawnBatch(image, answer, torch.tensor(tokens.input_ids), tasks, lines)


def _varied(rng: np.random.Generator, drawn: DrawnTask, tokenizer: Any) -> str:
    """The instruction with words left out and put in, for wording that training has not; whole if too long."""
    text = replace(drawn, line=shortened(rng, drawn.line)).instruction
    longer = with_fillers(rng, text)
    return longer if len(tokenizer.tokenize(longer)) <= tokenizer.model_max_length - 2 else text


def _lines(drawn: DrawnTask) -> torch.Tensor:
    """Where a detection could draw, ``float[3, S, S]``: around every object; nowhere for other tasks."""
    lines = np.zeros_like(drawn.scene.image)
    for one in drawn.scene.objects if drawn.task == "detect" else ():
        lines |= encode_boxes(np.zeros_like(lines), [one.box], (1, 1, 1))
    return torch.from_numpy(lines).permute(2, 0, 1).float()


class DiffusionLesson(nn.Module):
    """The loss of InstructPix2Pix (equation 4 of InstructCV) on the pipeline's parts, for a velocity.

    Answers are drawn in one step, from noise alone and without guidance. So lessons are of the last time alone,
    at which nothing of the answer is left, and none lacks its text or image.

    Args:
        pipeline: its UNet and text encoder learn.
    """

    def __init__(self, pipeline: Any) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.vae = pipeline.unet, pipeline.text_encoder, pipeline.vae
        self.scheduler = pipeline.scheduler

    def forward(self, batch: DrawnBatch, aux: bool = True) -> LessonOutput:
        """The loss of a batch, and that of each task."""
        answer, image = self.vae.encode(batch.answer).latents, self.vae.encode(batch.image).latents
        noise, last = torch.randn_like(answer), self.scheduler.config.num_train_timesteps - 1
        times = torch.full((len(answer),), last, device=answer.device)
        noisy = self.scheduler.add_noise(answer, noise, times)
        wanted = self.scheduler.get_velocity(answer, noise, times)
        text = self.text_encoder(batch.ids)[0]
        found = self.unet(torch.cat([noisy, image], 1), times, encoder_hidden_states=text).sample
        squares = F.mse_loss(found.float(), wanted.float(), reduction="none")
        each = (squares * (1 + LINE_WEIGHT * self.vae.encode(batch.lines).latents)).mean((1, 2, 3))
        figures: dict[str, float] = {
            task: each[batch.tasks == number].mean().item()
            for number, task in enumerate(CV_TASKS)
            if (batch.tasks == number).any()
        }
        return LessonOutput({"velocity": each.mean()}, figures)


def _floats(images: list[np.ndarray]) -> torch.Tensor:
    """``float[B, 3, S, S]``, -1..1."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def build_pipeline(seed: int = 0, start: str | Path | None = None) -> Any:
    """The tiny pipeline with new weights, or those of a tiny model, whose words may be fewer."""
    pipeline = tiny_pipeline(vocabulary(*ALL_NAMES), SETTINGS.image_size, SETTINGS.patch, seed)
    if start is not None:
        _take_weights(pipeline, InstructCVPredictor.from_pretrained(start, device="cpu").pipeline)
    return pipeline


def _take_weights(pipeline: Any, earlier: Any) -> None:
    """Gives ``pipeline`` the weights of another one, word by word; words that it lacks stay new.

    Raises:
        RuntimeError: it is of another size.
    """
    pipeline.unet.load_state_dict(earlier.unet.state_dict())
    weights, name = earlier.text_encoder.state_dict(), "embeddings.token_embedding.weight"
    old, new = earlier.tokenizer.get_vocab(), pipeline.tokenizer.get_vocab()
    both = [token for token in new if token in old]
    words = pipeline.text_encoder.state_dict()[name].clone()
    words[[new[token] for token in both]] = weights[name][[old[token] for token in both]]
    pipeline.text_encoder.load_state_dict({**weights, name: words})


def save(pipeline: Any, folder: Path) -> None:
    """Writes the pipeline in float16, and its settings."""
    InstructCVPredictor(pipeline.to(torch.float16), SETTINGS).save_pretrained(folder)


PAPER = {
    "segment": "ADE20K mIoU 47.2: only classes of the ground truth are asked for",
    "detect": "COCO mAP50 48.5: boxes that miss the ground truth are dropped before",
    "depth": "NYUv2 RMSE 0.297 m",
    "classify": "Pets accuracy 0.821",
}
"""Tables 1 and 2 of the paper, the model of varied wording, with what its released evaluation does."""
METRICS = {"segment": "mIoU", "detect": "hit@.5", "depth": "RMSE, m", "classify": "accuracy"}
GOALS = {"segment": ">.6 of ceiling", "detect": ">.5", "depth": "<.5 of baseline", "classify": ">.85"}


def score(asked: Sequence[DrawnTask], made: Sequence[np.ndarray], as_paper: bool) -> float:
    """The figure of one task, of images ``uint8[S, S, 3]`` that answer."""
    values = [_value(one, image, as_paper) for one, image in zip(asked, made, strict=True)]
    mean = float(np.mean(values))
    return mean**0.5 if asked[0].task == "depth" else mean


def _value(asked: DrawnTask, image: np.ndarray, as_paper: bool) -> float:
    """The overlap, the hit, the squared error, or whether it is right, of one answer."""
    match asked.task:
        case "segment":
            found, truth = decode_mask(image), decode_mask(asked.answer)
            if not truth.any():
                return float(found.mean() < LEAST_AREA)
            return float((found & truth).sum() / (found | truth).sum())
        case "detect":
            right = [one.box for one in asked.scene.objects if one.name == asked.name]
            boxes = decode_boxes(image, asked.scene.image, SETTINGS.box_colour, smooth=SETTINGS.smooth_boxes)
            if not right:
                return float(not boxes)
            return float(any(box_overlap(one, right[0]) > 0.5 for one in (boxes if as_paper else boxes[:1])))
        case "depth":
            return float(((decode_depth(image, SETTINGS.far) - asked.scene.depth) ** 2).mean())
        case _:
            yes = decode_presence(image, asked.colours) > 0.5
            return float(yes == (asked.name in asked.scene.names))


def _blind(asked: Sequence[DrawnTask]) -> list[np.ndarray]:
    """Answers that look at nothing: where objects are most often, the mean box and depth, and always no."""
    task, answers = asked[0].task, np.stack([one.answer for one in asked])
    match task:
        case "segment":
            often = answers.mean((0, 3))
            return [encode_mask(often >= np.quantile(often, 0.85))] * len(asked)
        case "detect":
            boxes = [one.box for drawn in asked for one in drawn.scene.objects if one.name == drawn.name]
            left, top, right, bottom = np.rint(np.mean(boxes, axis=0)).astype(int).tolist()
            return [
                encode_boxes(one.scene.image, [(left, top, right, bottom)], SETTINGS.box_colour)
                for one in asked
            ]
        case "depth":
            return [np.full_like(answers[0], round(float(answers.mean())))] * len(asked)
        case _:
            return [encode_presence(False, one.colours, one.scene.depth.shape) for one in asked]


def measure(name: str, scenes: int, as_paper: bool = False) -> dict[str, Any]:
    """Figures on held-out scenes, for :mod:`recipes.systems.table`.

    As the paper has it, a detection counts where any of its boxes hits (the others are dropped by the ground
    truth), and only objects that are there are segmented or detected. Honestly, the first box counts alone, and
    of a quarter of the segmentations and detections, which ask for absent objects, nothing may come back.

    Args:
        name: of the model, or its folder.
        scenes: of each task and wording.
        as_paper: which protocol.
    """
    predictor = InstructCVPredictor.from_pretrained(name)
    tasks = {}
    for number, task in enumerate(CV_TASKS):
        rng = np.random.default_rng([SEED, number])
        absent = 0.0 if as_paper and task != "classify" else None
        drawn = [draw_task(rng, task, absent) for _ in range(scenes)]
        other = [replace(one, line=BANK[task].draw(rng, held_out=True)) for one in drawn]
        images = [one.scene.image for one in drawn]
        made, again = (
            list(predictor.draw(images, [one.instruction for one in asked])[:, 0]) for asked in (drawn, other)
        )
        tasks[task] = {
            "metric": METRICS[task],
            "measured": score(drawn, made, as_paper),
            "unseen_wording": score(drawn, again, as_paper),
            "ceiling": score(drawn, [one.answer for one in drawn], as_paper),
            "baseline": score(drawn, _blind(drawn), as_paper),
            "goal": GOALS[task],
            "paper": PAPER[task],
        }
    return {
        "system": "InstructCV (tiny), protocol of the paper" if as_paper else "InstructCV (tiny)",
        "protocol": "paper" if as_paper else "honest",
        "scenes": scenes,
        "tasks": tasks,
    }
