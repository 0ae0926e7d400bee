"""The model's verbs on pairs of frame and instruction, in batches that fit into memory.

Rows of different frames and of different instructions go through the perceiver and the language model
together. What a batch size has no memory for is done in halves from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from instructseg.inference.frame_window import Shown, Window
from instructseg.inference.instructions import Instruction, States, lay_out, stack_states, stack_text
from instructseg.inference.postprocess import predictions
from instructseg.inference.predictor import Session
from instructseg.log import get_logger
from instructseg.model import FrameFeatures, InstructSeg
from instructseg.out_of_memory import is_out_of_memory, out_of_memory_error
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction

_Row = TypeVar("_Row")
_log = get_logger(__name__)


class Pairs(Session):
    """A session whose verbs fill in what a window and its instructions lack.

    Args:
        model: is put into evaluation mode.
        processor: of that model.
        batch_size: pairs that the perceiver, the language model and the mask decoder take together.
        frames_at_once: frames that the encoders take together.
    """

    def __init__(
        self, model: InstructSeg, processor: InstructSegProcessor, batch_size: int, frames_at_once: int
    ) -> None:
        super().__init__(model, processor)
        self.batch_size, self.frames_at_once = batch_size, frames_at_once

    def encode_tokens(self, window: Window, frames: Sequence[int]) -> None:
        """SigLIP on the frames that lack it."""

        def run(batch: Sequence[int]) -> None:
            pixels = torch.stack([self.processor.encode_clip(window[t].frame) for t in batch])
            tokens = self.model.encode_frame(clip_pixels=self.place(pixels)).tokens
            assert tokens is not None
            for t, one in zip(batch, tokens.split(1), strict=True):
                window[t].tokens = one

        self._in_batches([t for t in frames if window[t].tokens is None], run, "frames")

    def encode_masks(self, window: Window, frames: Sequence[int]) -> None:
        """The mask branch (Swin and pixel decoder) on the frames that lack it."""

        def run(batch: Sequence[int]) -> None:
            encoded = [self.processor.encode_key_frame(window[t].frame) for t in batch]
            pixels = self.place(torch.stack([pixels for pixels, _ in encoded]))
            features = self.model.encode_frame(seg_pixels=pixels)
            for place, (t, (_, geometry)) in enumerate(zip(batch, encoded, strict=True)):
                window[t].shown = Shown(_picture(features, place), geometry)

        self._in_batches([t for t in frames if window[t].shown is None], run, "frames")

    def reason_pairs(self, window: Window, rows: Sequence[tuple[Instruction, int]]) -> None:
        """The language model on instructions and their key frames; the states are kept by instruction."""
        references = {key: window.neighbours(key) or [key] for _, key in rows}
        if self.model.ovp is None:
            self.encode_tokens(window, sorted(references))
        else:
            self.encode_tokens(window, sorted({t for key, seen in references.items() for t in (key, *seen)}))
            pairs = dict.fromkeys((t, row) for row, key in rows for t in references[key])
            self._perceive_pairs(window, list(pairs))

        def run(batch: Sequence[tuple[Instruction, int]]) -> None:
            layouts = [row.layout(len(window.neighbours(key))) for row, key in batch]
            input_ids, roles = (one.to(self.model.device) for one in lay_out(layouts, self.length_multiple))
            tokens = torch.cat([_there(window[key].tokens) for _, key in batch])  # (B, P, D)
            temporal = None
            if self.model.ovp is not None:
                seen = [window[t].perceived[row.number] for row, key in batch for t in references[key]]
                temporal = torch.stack(seen)  # (sum of references, K, D)
            embeds = self.model.embed(input_ids, roles, tokens, temporal)
            states = self.model.reason(embeds, roles)
            for place, (row, key) in enumerate(batch):
                # copies: views would keep the whole batch alive
                text = states.text[place][states.text_mask[place]]
                row.states[key] = States(states.mask_tokens[place].clone(), text)

        self._in_batches(rows, run, "instructions")

    def decode_pairs(
        self,
        window: Window,
        t: int,
        rows: Sequence[tuple[Instruction, States]],
        threshold: float | None,
        soft: bool,
    ) -> list[MaskPrediction]:
        """The answers on frame ``t``, one per row; options as of :func:`predictions`."""
        shown = _there(window[t].shown)
        found: list[MaskPrediction] = []

        def run(batch: Sequence[tuple[Instruction, States]]) -> None:
            states = stack_states([one for _, one in batch])
            picture = torch.zeros(len(batch), dtype=torch.int64, device=states.text.device)
            output = self.model.decode(shown.features, states, picture)
            texts = [row.text for row, _ in batch]
            found.extend(
                predictions(output, [shown.geometry] * len(batch), texts, threshold=threshold, soft=soft)
            )

        self._in_batches(rows, run, "instructions")
        return found

    def _perceive_pairs(self, window: Window, pairs: Sequence[tuple[int, Instruction]]) -> None:
        """The perceiver on pairs that lack it."""

        def run(batch: Sequence[tuple[int, Instruction]]) -> None:
            tokens = torch.cat([_there(window[t].tokens) for t, _ in batch])
            text, text_mask = stack_text([self._embedded(row) for _, row in batch])
            for (t, row), seen in zip(batch, self.model.perceive(tokens, text, text_mask), strict=True):
                window[t].perceived[row.number] = seen

        missing = [(t, row) for t, row in pairs if row.number not in window[t].perceived]
        self._in_batches(missing, run, "instructions")

    def _embedded(self, row: Instruction) -> torch.Tensor:
        """Input embeddings of an instruction, ``float[T, D]``."""
        if row.embedded is None:
            input_ids, roles = (one.to(self.model.device) for one in lay_out([row.layout(0)]))
            row.embedded = self.model.embed_text(input_ids, roles)[0][0]
        return row.embedded

    def _in_batches(self, rows: Sequence[_Row], run: Callable[[Sequence[_Row]], None], what: str) -> None:
        """Runs all rows, a batch at a time; where memory runs out, with half as many from then on.

        Raises:
            torch.cuda.OutOfMemoryError: one row does not fit.
        """
        start = 0
        while start < len(rows):
            size = self.frames_at_once if what == "frames" else self.batch_size
            batch = rows[start : start + size]
            try:
                run(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise out_of_memory_error(
                        error, f"on one of the {what}", _ADVICE, self.model.device
                    ) from error
            else:
                start += len(batch)
                continue
            self._halve(len(batch), what)

    def _halve(self, size: int, what: str) -> None:
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        half = size // 2
        _log.warning("no memory for %d %s at once: going on with %d", size, what, half)
        if what == "frames":
            self.frames_at_once = half
        else:
            self.batch_size = half


_ADVICE = "they are computed one by one already; load the model with dtype bfloat16, or on another device"


def _there(value: _Row | None) -> _Row:
    """A value that must have been computed."""
    assert value is not None
    return value


def _picture(features: FrameFeatures, place: int) -> FrameFeatures:
    """The features of one frame of several."""
    one = slice(place, place + 1)
    assert features.mask_features is not None
    return replace(
        features,
        visual=None if features.visual is None else features.visual[one],
        levels=tuple(level[one] for level in features.levels),
        mask_features=features.mask_features[one],
    )
