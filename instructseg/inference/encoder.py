"""Frame feature cache, and perceive-embed-reason-decode on pairs of frame and instruction.

Image and video prediction both run through :class:`Encoder`. Rows of different frames and of different
instructions share a batch; a batch that does not fit in memory is halved from then on.

Letters: ``B`` rows, ``P`` SigLIP tokens, ``K`` perceiver queries, ``D`` width of the language model.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from instructseg.inference.fewer_tokens import SequenceRow
from instructseg.inference.instructions import (
    Instruction,
    States,
    lay_out,
    lay_out_places,
    stack_states,
    stack_text,
)
from instructseg.inference.selection import AnswerRule, answers
from instructseg.inference.text_parts import TextParts
from instructseg.log import get_logger
from instructseg.model import FrameFeatures, InstructSeg
from instructseg.model.language import Sampling
from instructseg.model.tokens import ALL_TOKENS, TokenChoice
from instructseg.out_of_memory import explain_out_of_memory, is_out_of_memory, out_of_memory_error
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Geometry, ModelInputs, Task

BATCH_SIZE = 16
"""Instructions per batch of the language model."""

_ADVICE = "the batch is a single one already; load the model with dtype bfloat16, or on another device"
_ABSENT = -30.0
"""Mask score logit of what is not there: a presence of 0 in any float type."""
_Row = TypeVar("_Row")
_log = get_logger(__name__)


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """Mask branch of one frame.

    Attributes:
        features: of this frame alone (F = 1).
        geometry: undoes resize and padding.
    """

    features: FrameFeatures
    geometry: Geometry


@dataclass(eq=False)
class CachedFrame:
    """A frame with its features, each computed on first use.

    Attributes:
        frame: ``uint8[H, W, 3]``.
        tokens: ``float[1, P, D]``, language side.
        perceived: ``float[K, D]`` by instruction number: the frame as a reference.
        maps: mask branch; ``None`` before the result is requested.
    """

    frame: np.ndarray
    tokens: torch.Tensor | None = None
    perceived: dict[int, torch.Tensor] = field(default_factory=dict)
    maps: FrameMaps | None = None


class Pair(NamedTuple):
    """An instruction with its key frame and reference frames, in temporal order.

    Without references the key frame is its own.
    """

    instruction: Instruction
    frame: CachedFrame
    references: Sequence[CachedFrame] = ()

    @property
    def seen(self) -> Sequence[CachedFrame]:
        """Frames for the perceiver."""
        return self.references or (self.frame,)


@dataclass(eq=False)
class Encoder:
    """The model's stages, in batches that fit in memory.

    Attributes:
        model: in evaluation mode.
        processor: of that model.
        batch_size: pairs per batch of perceiver, language model and mask decoder.
        frames_at_once: frames per batch of the vision tower and mask branch.
        length_multiple: language sequences are padded to a multiple of it.
        keep_tokens: choice of the visual tokens that the language model reads.
    """

    model: InstructSeg
    processor: InstructSegProcessor
    batch_size: int = BATCH_SIZE
    frames_at_once: int = 1
    length_multiple: int = 1
    keep_tokens: TokenChoice = ALL_TOKENS

    @torch.inference_mode()
    def encode_tokens(self, frames: Sequence[CachedFrame]) -> None:
        """Fill in missing ``tokens`` (SigLIP)."""

        def run(batch: Sequence[CachedFrame]) -> None:
            pixels = torch.stack([self.processor.encode_clip(one.frame) for one in batch])
            tokens = self.model.encode_frame(clip_pixels=self.place(pixels)).tokens
            assert tokens is not None
            for one, row in zip(batch, tokens.split(1), strict=True):
                one.tokens = row

        self._in_batches([one for one in frames if one.tokens is None], run, "frames")

    @torch.inference_mode()
    def encode_maps(self, frames: Sequence[CachedFrame]) -> None:
        """Fill in missing ``maps`` (mask backbone and pixel decoder)."""

        def run(batch: Sequence[CachedFrame]) -> None:
            encoded = [self.processor.encode_key_frame(one.frame) for one in batch]
            features = self.model.encode_frame(seg_pixels=self.place(torch.stack([row for row, _ in encoded])))
            for place, (one, (_, geometry)) in enumerate(zip(batch, encoded, strict=True)):
                one.maps = FrameMaps(_single(features, place), geometry)

        self._in_batches([one for one in frames if one.maps is None], run, "frames")

    @torch.inference_mode()
    def reason(self, pairs: Sequence[Pair]) -> list[States]:
        """Perceive, embed and reason: the language model's states of each pair, in order.

        Raises:
            torch.cuda.OutOfMemoryError: a single row does not fit.
        """
        with_perceiver = self.model.ovp is not None
        frames = [pair.frame for pair in pairs]
        if with_perceiver:
            frames += [one for pair in pairs for one in pair.seen]
        self.encode_tokens(list(dict.fromkeys(frames)))
        if with_perceiver:
            self._perceive(list(dict.fromkeys((one, pair.instruction) for pair in pairs for one in pair.seen)))
        found: list[States] = []

        def run(batch: Sequence[Pair]) -> None:
            rows = [self._sequence(pair) for pair in batch]
            laid = lay_out([row.layout for row in rows], self.length_multiple)
            input_ids, roles = (one.to(self.model.device) for one in laid)
            tokens = torch.cat([row.tokens for row in rows])  # (sum of key-frame tokens, D)
            seen = [row.temporal for row in rows if row.temporal is not None]
            temporal = torch.cat(seen) if seen else None  # (sum of perceiver tokens, D)
            placement = lay_out_places([row.places for row in rows], roles)
            embeds = self.model.embed(input_ids, roles, tokens, temporal)
            states = self.model.reason(embeds, roles, placement)
            for place in range(len(batch)):
                # copies: views would keep the whole batch alive
                text = states.text[place][states.text_mask[place]]
                found.append(States(states.mask_tokens[place].clone(), text))

        self._in_batches(pairs, run, "instructions")
        return found

    @torch.inference_mode()
    def decode(
        self, frame: CachedFrame, rows: Sequence[tuple[Instruction, States]], rule: AnswerRule
    ) -> list[list[Prediction]]:
        """Predictions on a frame by row, as of :func:`~instructseg.inference.selection.answers`.

        Raises:
            torch.cuda.OutOfMemoryError: a single row does not fit.
        """
        self.encode_maps([frame])
        maps, found = _computed(frame.maps), list[list[Prediction]]()

        def run(batch: Sequence[tuple[Instruction, States]]) -> None:
            states = stack_states([one for _, one in batch])
            first = torch.zeros(len(batch), dtype=torch.int64, device=states.text.device)
            output = self.model.decode(maps.features, states, first)
            unread = [place for place, (row, _) in enumerate(batch) if not row.known]
            if unread and output.seg_logits is not None:
                output.seg_logits[unread] = _ABSENT
            texts, numbers = [row.text for row, _ in batch], [row.number for row, _ in batch]
            found.extend(answers(output, maps.geometry, texts, numbers, rule, frame.frame))

        self._in_batches(rows, run, "instructions")
        return found

    def write_text(
        self,
        frame: CachedFrame,
        instructions: Sequence[str],
        task: Task,
        max_new_tokens: int,
        stream: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Generated text per instruction: the reply to a question (``Task.VQA``), else the explanation.

        ``stream``, with a single instruction, is called with each further part of its text.

        Raises:
            torch.cuda.OutOfMemoryError: it does not fit.
        """
        input_ids, roles = self.processor.encode_text(
            instructions, task, explain=task is not Task.VQA, generate=True
        )
        inputs = ModelInputs(
            input_ids,
            roles,
            clip_pixels=torch.empty(1, 1, 3, 0, 0),  # encoded already
            num_references=torch.zeros(1, dtype=torch.int64),
            image_index=torch.zeros(len(instructions), dtype=torch.int64),
        ).to(self.model.device, self.model.dtype)
        stop, advice = (self.processor.seg_token_id,), "lower batch_size, or load the model with dtype bfloat16"
        self.encode_tokens([frame])
        with explain_out_of_memory(f"writing {len(instructions)} texts", advice, self.model.device):
            sampling: Sampling = {} if stream is None else {"streamer": TextParts(self.processor, stream)}
            written = self.model.answer(inputs, max_new_tokens, stop, _computed(frame.tokens), **sampling)
        return [self.processor.decode(ids) for ids in written]

    def place(self, pixels: torch.Tensor) -> torch.Tensor:
        """``pixels`` on the model's device, in its floating-point type."""
        return pixels.to(self.model.device, self.model.dtype)

    def _sequence(self, pair: Pair) -> SequenceRow:
        """The language sequence of a pair whose frames are encoded and perceived."""
        instruction, temporal = pair.instruction, None
        if self.model.ovp is not None:
            temporal = torch.cat([one.perceived[instruction.number] for one in pair.seen])
        layout = instruction.layout(len(pair.references))
        row = SequenceRow(layout, _computed(pair.frame.tokens)[0], temporal)
        if self.keep_tokens.keeps_all:
            return row
        seed = 0
        if self.keep_tokens.method == "random":  # by what is shown and asked, whatever the batch
            seed = zlib.crc32(pair.frame.frame.tobytes() + instruction.text.encode())
        return row.fewer(self.keep_tokens, len(pair.seen), self._embedded(instruction), seed)

    def _perceive(self, pairs: Sequence[tuple[CachedFrame, Instruction]]) -> None:
        """Fill in missing ``perceived``."""

        def run(batch: Sequence[tuple[CachedFrame, Instruction]]) -> None:
            tokens = torch.cat([_computed(one.tokens) for one, _ in batch])
            text, text_mask = stack_text([self._embedded(row) for _, row in batch])
            for (one, row), seen in zip(batch, self.model.perceive(tokens, text, text_mask), strict=True):
                one.perceived[row.number] = seen

        missing = [(one, row) for one, row in pairs if row.number not in one.perceived]
        self._in_batches(missing, run, "instructions")

    def _embedded(self, row: Instruction) -> torch.Tensor:
        """Input embeddings of an instruction, ``float[T, D]``."""
        if row.embedded is None:
            input_ids, roles = (one.to(self.model.device) for one in lay_out([row.layout(0)]))
            row.embedded = self.model.embed_text(input_ids, roles)[0][0]
        return row.embedded

    def _in_batches(self, rows: Sequence[_Row], run: Callable[[Sequence[_Row]], None], unit: str) -> None:
        """Run all rows in batches; when memory runs out, halve the batch size for good.

        Raises:
            torch.cuda.OutOfMemoryError: a single row does not fit.
        """
        start = 0
        while start < len(rows):
            size = self.frames_at_once if unit == "frames" else self.batch_size
            batch = rows[start : start + size]
            try:
                run(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    doing = f"on {_described(batch[0])}"
                    raise out_of_memory_error(error, doing, _ADVICE, self.model.device) from error
            else:
                start += len(batch)
                continue
            self._halve(len(batch), unit)

    def _halve(self, size: int, unit: str) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        half = size // 2
        _log.warning("no memory for %d %s at once: continuing with %d", size, unit, half)
        if unit == "frames":
            self.frames_at_once = half
        else:
            self.batch_size = half


def _computed(value: _Row | None) -> _Row:
    """A value computed before."""
    assert value is not None
    return value


def _described(row: object) -> str:
    """The row of a batch, for messages."""
    if isinstance(row, CachedFrame):
        return f"an image of {row.frame.shape[0]}x{row.frame.shape[1]}"
    return "one of the instructions"


def _single(features: FrameFeatures, place: int) -> FrameFeatures:
    """Features of one frame of a batch."""
    one = slice(place, place + 1)
    assert features.mask_features is not None
    return replace(
        features,
        visual=None if features.visual is None else features.visual[one],
        levels=tuple(level[one] for level in features.levels),
        mask_features=features.mask_features[one],
    )
