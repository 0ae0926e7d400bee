"""What prediction in images and in video share: instructions laid out once, frames encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from instructseg.deprecation import renamed_keyword
from instructseg.inference.instructions import lengthened
from instructseg.inference.memory import Workload, plan_checkpoint
from instructseg.loading import load
from instructseg.model import FrameFeatures, InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Geometry, SegOutput, Task

BATCH_SIZE = 16
"""Instructions that the language model reads together."""
LENGTH_MULTIPLE = 32
"""Positions by which compiled language sequences differ in length."""

_Self = TypeVar("_Self", bound="Session")


@dataclass(frozen=True, eq=False)
class Prompt:
    """Instructions that share key frames and are read together.

    Attributes:
        instructions: B of them, as written.
        input_ids, roles: ``int64[B, L]``.
        text: ``float[B, T, D]`` embeddings that guide the perceiver, and ``text_mask`` ``bool[B, T]``.
    """

    instructions: tuple[str, ...]
    input_ids: torch.Tensor
    roles: torch.Tensor
    text: torch.Tensor
    text_mask: torch.Tensor


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame that is ready to be segmented.

    Attributes:
        tokens: ``float[1, P, D]``, its language side.
        features: its mask branch (F = 1).
        geometry: undoes resize and padding.
    """

    tokens: torch.Tensor
    features: FrameFeatures
    geometry: Geometry


class Session:
    """A model with its processor, and the verbs between them.

    Args:
        model: is put into evaluation mode.
        processor: of that model.
    """

    takes_clips: ClassVar[bool] = False
    """Whether frames of a file are encoded together."""

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        self.model, self.processor = model.eval(), processor
        self.length_multiple = 1
        """Language sequences are padded to a multiple of it."""
        self.batch_size = BATCH_SIZE
        """Instructions that are read together, unless a call says otherwise."""
        self.chunk: int | None = None
        """The most frames of a file that are encoded together; ``None`` for as many as gain."""

    @classmethod
    @renamed_keyword("quantise", "quantize")
    def from_pretrained(
        cls: type[_Self],
        name_or_path: str | Path | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        quantize: str | None = None,
        max_memory: int | str | None = None,
        workload: Workload | None = None,
    ) -> _Self:
        """Loads model and processor; arguments and errors as of :func:`instructseg.loading.load`.

        Args:
            name_or_path, device, dtype, quantize: as there.
            max_memory: ``"6GB"`` ..; what is not given is chosen to fit, ``batch_size`` and ``chunk`` with it
                (:func:`instructseg.inference.memory.plan_memory`).
            workload: what ``max_memory`` is to be enough for; ``None`` for 16 instructions on pictures, or
                clips of 30 frames per second, of 1080 x 1920 pixels.

        Raises:
            ValueError: nothing fits, or as :func:`instructseg.loading.load`.
        """
        if max_memory is None:
            return cls(*load(name_or_path, device, dtype, quantize))
        given = (name_or_path, max_memory, device, dtype, quantize)
        plan = plan_checkpoint(*given, clips=cls.takes_clips, workload=workload)
        session = cls(*load(name_or_path, device, plan.dtype, plan.quantize))
        session.batch_size, session.chunk = plan.batch_size, plan.chunk
        return session

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Writes model and processor, quantized or not: what ``--model`` and :meth:`from_pretrained` take.

        Args:
            folder: is made where it is missing; files of the same names are replaced.
            options: of ``save_pretrained`` of transformers, such as ``max_shard_size``.

        Raises:
            OSError: the disk refuses.
        """
        self.model.processor = self.processor
        self.model.save_pretrained(folder, **options)

    def push_to_hub(self, repository: str, **options: Any) -> Any:
        """Uploads the same to a repository of the Hugging Face hub, ``owner/name``.

        Args:
            repository: is made where it is missing.
            options: of ``push_to_hub`` of transformers, such as ``private``, ``token`` and ``commit_message``.

        Returns:
            what the hub says of the commit.
        """
        self.model.processor = self.processor
        return self.model.push_to_hub(repository, **options)

    def compile(self, **options: Any) -> None:
        """Compiles the encoders and the language model with ``torch.compile``, in place; results stay close.

        Shapes are static: each number of frames, of rows and (in steps of :data:`LENGTH_MULTIPLE`) each
        length of the language sequence is compiled when it first comes, which takes a minute or more for
        large weights. Worth it for long clips.

        Args:
            options: of ``torch.compile``, such as ``mode="max-autotune"``.
        """
        for part in (self.model.vision, self.model.backbone, self.model.language.model):
            part.compile(**{"dynamic": False, **options})
        self.length_multiple = LENGTH_MULTIPLE

    def threshold(self, given: float | None) -> float:
        """The presence below which a mask is empty: as ``given``; else that of the weights, else 0.

        Raises:
            ValueError: it is outside 0..1.
        """
        if given is None:
            given = self.processor.config.presence_threshold or 0.0
        if not 0 <= given <= 1:
            raise ValueError(f"threshold {given} is outside 0..1")
        return given

    @torch.inference_mode()
    def tokens(self, frame: np.ndarray) -> torch.Tensor:
        """Language side of ``uint8[H, W, 3]``: projected SigLIP tokens ``float[1, P, D]``."""
        tokens = self.model.encode_frame(clip_pixels=self.place(self.processor.encode_clip(frame)[None])).tokens
        assert tokens is not None
        return tokens

    @torch.inference_mode()
    def key_frame(self, frame: np.ndarray, tokens: torch.Tensor) -> KeyFrame:
        """Mask branch of ``uint8[H, W, 3]``, next to its :meth:`tokens`."""
        pixels, geometry = self.processor.encode_key_frame(frame)
        features = self.model.encode_frame(seg_pixels=self.place(pixels[None]))
        return KeyFrame(tokens, features, geometry)

    @torch.inference_mode()
    def prompt(
        self,
        instructions: Sequence[str],
        task: Task,
        num_references: int,
        answers: Sequence[str] | None = None,
    ) -> Prompt:
        """Lays out instructions on a key frame with ``num_references`` others.

        Args:
            instructions: at least one.
            task: selects the wording.
            num_references: 0 makes the key frame its own reference.
            answers: explanations that stand in front of the mask tokens (``Task.REASON_SEG``).

        Raises:
            ValueError: an empty or over-long instruction, or a task without masks.
        """
        input_ids, roles = self.processor.encode_text(
            instructions, task, num_references, explain=answers is not None, answers=answers
        )
        input_ids, roles = lengthened(input_ids, roles, self.length_multiple)
        input_ids, roles = input_ids.to(self.model.device), roles.to(self.model.device)
        return Prompt(tuple(instructions), input_ids, roles, *self.model.embed_text(input_ids, roles))

    @torch.inference_mode()
    def perceive(self, prompt: Prompt, tokens: torch.Tensor) -> torch.Tensor | None:
        """A reference frame as each instruction sees it, ``float[B, K, D]``; ``None`` without a perceiver."""
        if self.model.ovp is None:
            return None
        return self.model.perceive(
            tokens.expand(len(prompt.instructions), -1, -1), prompt.text, prompt.text_mask
        )

    @torch.inference_mode()
    def solve(self, prompt: Prompt, key: KeyFrame, references: Sequence[torch.Tensor | None]) -> SegOutput:
        """Masks and scores of each instruction on one key frame.

        Args:
            prompt: laid out for as many references.
            key: the frame to segment.
            references: what :meth:`perceive` gave of each, in temporal order.
        """
        rows = len(prompt.instructions)
        seen = [tokens for tokens in references if tokens is not None]
        temporal = torch.stack(seen, 1).flatten(0, 1) if seen else None  # (B * R, K, D), row by row
        shown = key.tokens.expand(rows, -1, -1)
        embeds = self.model.embed(prompt.input_ids, prompt.roles, shown, temporal)
        states = self.model.reason(embeds, prompt.roles)
        return self.model.decode(
            key.features, states, torch.zeros(rows, dtype=torch.int64, device=embeds.device)
        )

    def place(self, pixels: torch.Tensor) -> torch.Tensor:
        """``pixels`` where the model is, in its floating-point type."""
        return pixels.to(self.model.device, self.model.dtype)


def batches(instructions: Sequence[str], batch_size: int) -> list[Sequence[str]]:
    """Instructions in groups of at most ``batch_size``.

    Raises:
        ValueError: there is none, or the batch size is below 1.
    """
    if not instructions:
        raise ValueError("no instruction: say what to look for")
    check_batch_size(batch_size)
    return [instructions[i : i + batch_size] for i in range(0, len(instructions), batch_size)]


def check_task(task: Task | str) -> Task:
    """The task of that name; raises a ValueError where there is none, or its answer is no mask."""
    try:
        found = Task(task)
    except ValueError:
        known = ", ".join(one.value for one in Task if one.has_mask)
        raise ValueError(f"unknown task {task!r}: use {known}") from None
    if not found.has_mask:
        raise ValueError(f"task '{found.value}' has no mask: ask ImagePredictor.answer instead")
    return found


def check_batch_size(batch_size: int) -> None:
    """Raises a ValueError where it is below 1."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
