"""Scenes as codes with instructions on them, as the lesson of reading takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.processing import InstructSegProcessor
from instructseg.structures import IGNORE_LABEL, MaskTargets, Role, Task
from recipes.lesson import moved
from recipes.nano.language.meaning import MIN_AREA
from recipes.nano.lessons.codes import CODE_DIM, NOTHING, object_codes, patch_codes, patch_things
from recipes.nano.lessons.standing import KIN, STANDING_DIM, standing
from recipes.nano.synthetic import DrawnScene, SceneBatches


@dataclass(frozen=True, eq=False)
class Pages:
    """A batch of F scenes, all images or all videos, with B instructions; R references, N objects at most.

    Attributes:
        input_ids: ``int64[B, L]``, as of ``ModelInputs``.
        roles: ``int64[B, L]``.
        labels: ``int64[B, L]``; replies to plain questions are learned.
        image: ``int64[B]``, the scene of each row.
        patches: ``float[F, 1 + R, P, PATCH_DIM]``: the key frame, then its references.
        under: ``int64[F, P]``: the object under each patch of the key frame; -1 for none.
        standing: ``float[F, N, STANDING_DIM]``, what is true of each object among the others.
        kin: ``bool[F, 2, N, N]``, others of the same shape, and of the same colour.
        orders: ``bool[F, 4, N, N]``, see :class:`~recipes.nano.lessons.standing.Standing`.
        objects: ``float[F, N + 1, CODE_DIM]``; the last one that is real is nothing at all.
        real: ``bool[F, N + 1]``.
        answers: ``float[B, N + 1]``, 1 on what is meant.
        anchors: ``float[B, N + 1]``, 1 on the other objects that are named.
        shown: ``float[F, R, N, CODE_DIM]``, the objects as they are in the references.
        in_sight: ``bool[F, R, N]``.
        pixels: ``float[F, 1 + R, 3, S, S]`` of the SigLIP side, key frame first; ``None`` where codes are read.
    """

    input_ids: torch.Tensor
    roles: torch.Tensor
    labels: torch.Tensor
    image: torch.Tensor
    patches: torch.Tensor
    under: torch.Tensor
    standing: torch.Tensor
    kin: torch.Tensor
    orders: torch.Tensor
    objects: torch.Tensor
    real: torch.Tensor
    answers: torch.Tensor
    anchors: torch.Tensor
    shown: torch.Tensor
    in_sight: torch.Tensor
    kinds: tuple[str, ...]
    pixels: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.input_ids)

    def to(self, device: torch.device | str) -> Pages:
        """Moves the tensors to ``device``."""
        return moved(self, device)


@dataclass(frozen=True)
class PageSource:
    """Batch ``i`` of scenes as codes (see ``engine.BatchSource``).

    Attributes:
        processor: lays out the instructions.
        seen: whether the batches have pixels.
    """

    processor: InstructSegProcessor
    batches: SceneBatches
    seen: bool = False

    def batch(self, index: int) -> tuple[Pages, list[MaskTargets]]:
        """Scenes and instructions; there are no masks to compare."""
        return pages_of(self.processor, self.batches.scenes(index), self.seen), []

    def names(self, index: int) -> Sequence[str]:
        """Names of the scenes of batch ``index``."""
        return [scene.name for scene in self.batches.scenes(index)]


def pages_of(processor: InstructSegProcessor, scenes: Sequence[DrawnScene], seen: bool = False) -> Pages:
    """The batch of these scenes, which are all images or all videos; ``seen`` adds their pixels."""
    grid = round(processor.config.num_image_tokens**0.5)
    codes = [_codes(drawn) for drawn in scenes]  # (1 + R, N, CODE_DIM) each
    most = max(code.shape[1] for code in codes) + 1
    references = codes[0].shape[0] - 1
    objects = np.tile(NOTHING, (len(scenes), most, 1))
    real = np.zeros((len(scenes), most), bool)
    shown = np.zeros((len(scenes), references, most - 1, CODE_DIM), np.float32)
    in_sight = np.zeros(shown.shape[:3], bool)
    stand = np.zeros((len(scenes), most - 1, STANDING_DIM), np.float32)
    kin = np.zeros((len(scenes), len(KIN), most - 1, most - 1), bool)
    orders = np.zeros((len(scenes), 4, most - 1, most - 1), bool)
    patches, under, answers, anchors, rows = [], [], [], [], []
    for number, (drawn, code) in enumerate(zip(scenes, codes, strict=True)):
        scene, count, frames = drawn.scene, code.shape[1], _frames(drawn)
        objects[number, :count] = code[0]
        real[number, : count + 1] = True
        shown[number, :, :count] = code[1:]
        in_sight[number, :, :count] = [[scene.area(i, t) >= MIN_AREA for i in range(count)] for t in frames[1:]]
        patches.append(np.stack([patch_codes(scene, t, grid, c) for t, c in zip(frames, code, strict=True)]))
        under.append(patch_things(scene, drawn.key, grid)[0])
        known = standing(scene, drawn.key, frames[1:])
        stand[number, :count] = known.numbers
        kin[number, :, :count, :count] = known.kin
        orders[number, :, :count, :count] = known.orders
        for said in drawn.expressions:
            answers.append(_marked(said.targets, most))
            anchors.append(_marked(said.anchors, most))
            rows.append(number)
    ids, roles, labels = _texts(processor, scenes)
    array = torch.from_numpy
    return Pages(
        ids, roles, labels, torch.tensor(rows), array(np.stack(patches)), array(np.stack(under)),
        array(stand), array(kin), array(orders), array(objects), array(real),
        array(np.stack(answers)), array(np.stack(anchors)), array(shown), array(in_sight),
        tuple(said.kind for drawn in scenes for said in drawn.expressions),
        torch.stack([_pixels(processor, drawn) for drawn in scenes]) if seen else None,
    )  # fmt: skip


def _marked(which: Sequence[int], count: int) -> np.ndarray:
    """``float32[count]``, 1 at ``which``."""
    marked = np.zeros(count, np.float32)
    marked[list(which)] = 1
    return marked


def _frames(drawn: DrawnScene) -> list[int]:
    """Key frame and references; an image is its own reference."""
    return [drawn.key, *(drawn.references or (drawn.key,))]


def _pixels(processor: InstructSegProcessor, drawn: DrawnScene) -> torch.Tensor:
    return torch.stack([processor.encode_clip(drawn.scene.frames[t]) for t in _frames(drawn)])


def _codes(drawn: DrawnScene) -> np.ndarray:
    return np.stack([object_codes(drawn.scene, t) for t in _frames(drawn)])


def _texts(
    processor: InstructSegProcessor, scenes: Sequence[DrawnScene]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, roles and labels of all instructions."""
    rows = []
    for drawn in scenes:
        for said in drawn.expressions:
            references = len(drawn.references) if said.task.has_mask else 0
            ids, roles = processor.encode_text(
                [said.text], said.task, references, answers=[said.answer] if said.answer else None
            )
            labels = torch.full_like(ids, IGNORE_LABEL)
            if said.task is Task.VQA:
                prompt, _ = processor.encode_text([said.text], said.task, generate=True)
                labels[:, prompt.shape[1] :] = ids[:, prompt.shape[1] :]
            rows.append((ids[0], roles[0], labels[0]))
    fillings = (0, int(Role.PAD), IGNORE_LABEL)
    padded = [
        torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True, padding_value=filling)
        for column, filling in zip(zip(*rows, strict=True), fillings, strict=True)
    ]
    return padded[0], padded[1], padded[2]
