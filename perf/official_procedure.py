"""The official procedure, written plainly, with this project's modules and weights.

Read from the official evaluation code. For every frame and every instruction, one at a time, it

* encodes the key frame and each reference with SigLIP (an image is its own reference and is encoded twice),
* runs the perceiver on the references,
* runs the whole language model over the sequence and its output table over every position,
* runs Swin and the pixel decoder (``grid_sample``, as its own fallback without a CUDA kernel),
* predicts the masks of all queries behind every decoder layer,
* brings the masks of all queries to the frame's size before the best is chosen.

Nothing is kept between frames or instructions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.data.frames import neighbour_references
from instructseg.inference.encoder import FrameMaps
from instructseg.inference.postprocess import all_masks
from instructseg.model import FrameFeatures, InstructSeg
from instructseg.model.instructseg import LanguageStates
from instructseg.model.pixel_decoder import DeformableAttention
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Role, SegOutput, Task
from perf.workload import Clock

REFERENCES = 4


@dataclass(frozen=True, eq=False)
class Prompt:
    """A batch of instructions.

    Attributes:
        input_ids, roles: ``int64[B, L]``.
        text: ``float[B, T, D]`` embeddings that guide the perceiver, and ``text_mask`` ``bool[B, T]``.
    """

    input_ids: torch.Tensor
    roles: torch.Tensor
    text: torch.Tensor
    text_mask: torch.Tensor


class Stages:
    """The model's inputs, without any cache."""

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        self.model, self.processor = model, processor

    def prompt(self, instructions: Sequence[str], task: Task, references: int) -> Prompt:
        """Instructions for so many reference frames."""
        input_ids, roles = self.processor.encode_text(instructions, task, references)
        input_ids, roles = input_ids.to(self.model.device), roles.to(self.model.device)
        return Prompt(input_ids, roles, *self.model.embed_text(input_ids, roles))

    def tokens(self, frame: np.ndarray) -> torch.Tensor:
        """SigLIP tokens of ``uint8[H, W, 3]``, ``float[1, P, D]``."""
        tokens = self.model.encode_frame(clip_pixels=self.place(self.processor.encode_clip(frame)[None])).tokens
        assert tokens is not None
        return tokens

    def place(self, pixels: torch.Tensor) -> torch.Tensor:
        """``pixels`` on the model's device, in its floating-point type."""
        return pixels.to(self.model.device, self.model.dtype)


class OfficialProcedure:
    """The reference path of the speed benchmarks.

    Args:
        model: in evaluation mode.
        processor: of that model.

    Attributes:
        clock: processor seconds of each stage, summed over all calls.
    """

    def __init__(self, model: InstructSeg, processor: InstructSegProcessor) -> None:
        self.model, self.stages, self.clock = model, Stages(model, processor), Clock()

    def image(self, frame: np.ndarray, instructions: Sequence[str]) -> list[Prediction]:
        """Answers on ``uint8[H, W, 3]``, one per instruction."""
        return [self._solve(frame, [frame], text, Task.RES, 0) for text in instructions]

    def video(
        self, frames: Sequence[np.ndarray], instructions: Sequence[str], only: Iterable[int] | None = None
    ) -> list[list[Prediction]]:
        """Answers on a clip, per frame and instruction; ``only`` some frames, each of which costs the same."""
        found = []
        for t in range(len(frames)) if only is None else only:
            neighbours = neighbour_references(t, len(frames), REFERENCES)
            references = [frames[i] for i in neighbours] or [frames[t]]
            found.append(
                [self._solve(frames[t], references, text, Task.RVOS, len(neighbours)) for text in instructions]
            )
        return found

    @torch.inference_mode()
    def _solve(
        self, frame: np.ndarray, references: Sequence[np.ndarray], text: str, task: Task, count: int
    ) -> Prediction:
        model, stages, clock = self.model, self.stages, self.clock
        prompt = stages.prompt([text], task, count)
        with clock("siglip"):
            tokens = stages.tokens(frame)
            others = torch.cat([stages.tokens(reference) for reference in references])
        temporal = None
        if model.ovp is not None:
            with clock("ovp"):
                rows = len(others)
                temporal = model.perceive(
                    others, prompt.text.expand(rows, -1, -1), prompt.text_mask.expand(rows, -1)
                )
        states = self._reason(prompt, tokens, temporal)
        key = self._maps(frame)
        with clock("mask_decoder"):
            output = model.decode(key.features, states, aux=True)
        with clock("masks"):
            return _best(output, key, text)

    def _reason(self, prompt: Prompt, tokens: torch.Tensor, temporal: torch.Tensor | None) -> LanguageStates:
        """The language model at every position, and the logits of the text, which nothing reads."""
        model, roles = self.model, prompt.roles
        embeds = model.embed(prompt.input_ids, roles, tokens, temporal)
        with self.clock("llm"):
            states = model.reason(embeds, roles, whole=True)
        with self.clock("language_head"):
            model.language.lm_head(states.hidden).float()
        assert not bool((roles == Role.PAD).any())
        return states

    def _maps(self, frame: np.ndarray) -> FrameMaps:
        """The mask branch with plain sampling."""
        model, stages, clock = self.model, self.stages, self.clock
        pixels, geometry = stages.processor.encode_key_frame(frame)
        with clock("swin"):
            maps = model.backbone(stages.place(pixels[None]))
        with clock("pixel_decoder"), plain_sampling(model):
            levels, mask_features = model.pixel_decoder(maps)
        visual = model.vmtf.encode_visual(maps)
        return FrameMaps(FrameFeatures(None, visual, levels, mask_features), geometry)


@contextmanager
def plain_sampling(model: InstructSeg) -> Iterator[None]:
    """Deformable attention by ``grid_sample``."""
    attentions = [part for part in model.modules() if isinstance(part, DeformableAttention)]
    for attention in attentions:
        attention.by_rows = False
    try:
        yield
    finally:
        for attention in attentions:
            attention.by_rows = True


def _best(output: SegOutput, key: FrameMaps, text: str) -> Prediction:
    """The best of all masks at the frame's size."""
    assert output.mask_logits is not None and output.seg_logits is not None
    logits, scores = all_masks(output.mask_logits[0], output.seg_logits[0], key.geometry)
    best = int(scores.argmax())
    presence = float(output.seg_logits.float().sigmoid().amax())
    return Prediction((logits[best] > 0).cpu().numpy(), float(scores[best]), presence, text)
