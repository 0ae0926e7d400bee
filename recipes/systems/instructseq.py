"""InstructSeq on drawn scenes: vocabulary, batches, and the lesson for :mod:`recipes.systems.train`.

The codes of images are fitted first, then rest, as in the paper; the rest of the model is trained here.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from instructseg.systems.instructseq.instructseq_model import InstructSeq
from instructseg.systems.instructseq.instructseq_predictor import InstructSeqPredictor
from instructseg.systems.instructseq.sequence_answer import AnswerReader
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.prefix_decoder import Prefix
from instructseg.systems.sequence.token_loss import token_losses
from recipes.lesson import LessonOutput
from recipes.systems.grounding import Grounding
from recipes.systems.instructseq_evaluation import fit_calibration
from recipes.systems.instructseq_lessons import SequenceBatch, every_word, lesson_batch
from recipes.systems.instructseq_start import tiny_model, word_reader
from recipes.systems.lesson_source import LessonSource

SCENES = 60
"""From which the confidence is calibrated."""
GROUNDING = 2.0
"""Weight of the loss of where the object of a phrase is."""


def new_model(seed: int = 0) -> tuple[InstructSeq, InstructionReader]:
    """The tiny model with new weights, and its tokenizer."""
    words = word_reader(every_word())
    return tiny_model(words, seed), words


def lesson_source(reader: AnswerReader, count: int, seed: int) -> LessonSource:
    """Batches of ``count`` lessons."""
    return LessonSource(lambda rng, _: lesson_batch(rng, reader, count), count, seed)


class SequenceTraining(nn.Module):
    """The loss of a batch: cross-entropy of the tokens of answers, and where the object of a phrase is."""

    def __init__(self, model: InstructSeq) -> None:
        super().__init__()
        self.model = model
        self.grounding = Grounding(model.config.language_config.hidden_size)

    def forward(self, batch: SequenceBatch, aux: bool = True) -> LessonOutput:
        """The loss, with the shares of tokens of images and of other answers that are right."""
        tokens, visual = batch.tokens.clone(), self.model.visual
        if len(batch.dense):
            codes = visual.encode(batch.answers).flatten(1) + self.model.config.vocabulary.first("image")
            tokens[batch.dense, 1 : 1 + codes.shape[1]] = codes
        prefix = self.model.read(batch.pixels, batch.ids, batch.mask)
        short = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
        short[batch.dense] = False
        losses, grounds, figures = [], [], {}
        # apart, as an image has 66 tokens and a box 5
        for name, rows in (("right_image", ~short), ("right_words", short)):
            if rows.any():
                some = Prefix(prefix.states[rows], prefix.mask[rows])
                loss, figures[name], read = self._answers(some, tokens[rows], batch.lengths[rows])
                losses.append(loss)
                truth = batch.grounds[rows]
                grounds.append(self.grounding(read[:, -truth.shape[1] :], truth) * batch.phrased[rows])
        parts = {"tokens": torch.cat(losses).mean(), "grounds": GROUNDING * torch.cat(grounds).mean()}
        return LessonOutput(parts, figures)

    def _answers(
        self, prefix: Prefix, tokens: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, float, torch.Tensor]:
        """Losses of answers, the share of their tokens that are right, and what they read of the prefix.

        A loss is between the mean over the tokens of an answer and their sum.
        """
        tokens = tokens[:, : int(lengths.max())]
        logits, read = self.model.decoder.with_states(prefix, tokens[:, :-1])
        losses = token_losses(logits, tokens)
        real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        right = ((logits.argmax(-1) == tokens) & real).sum() / real.sum()
        return (losses * real).sum(1) / lengths.sqrt(), float(right), read


def save(model: InstructSeq, words: InstructionReader, folder: Path) -> None:
    """Calibrates the confidence on scenes of their own, and writes the model in float16."""
    found = fit_calibration(InstructSeqPredictor(model, words), SCENES)
    model.config.calibration, model.config.calibration_shift = found
    model.processor = words
    model.half().save_pretrained(folder)
