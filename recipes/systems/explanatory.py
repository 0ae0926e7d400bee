"""Explanatory Instructions on drawn scenes: the tiny model, and the lesson of :mod:`recipes.systems.train`.

The codes of images are fitted first, then rest; the transformer is trained here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import LlamaConfig

from instructseg.systems.explanatory.explanatory_config import ExplanatoryConfig
from instructseg.systems.explanatory.explanatory_model import Explanatory
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.token_loss import token_losses
from instructseg.systems.sequence.visual_codes import prepare_images
from recipes.lesson import LessonOutput
from recipes.systems.explanatory_lessons import (
    TripletBatch,
    draw_changes,
    every_word,
    lesson_triplet,
    triplet_batch,
)
from recipes.systems.grounding import Grounding
from recipes.systems.instructseq_start import k_means, word_reader
from recipes.systems.lesson_source import LessonSource

WIDTH, LAYERS, CODES, PATCH, IMAGE = 128, 4, 512, 4, 32
DRAWN = 1500
"""Triplets from which the codes are fitted."""
GROUNDING = 1.0
"""Weight of the loss of where the object of an instruction is."""
FLAT, BUSY = (128, 6000), (384, 20000)
"""Codes of cells of about one grey, and of the others, with the number of cells that are looked at."""


def tiny_config(table: int) -> ExplanatoryConfig:
    """A size that learns drawn scenes on a CPU: an image has 64 codes of 4 x 4 pixels.

    Args:
        table: number of words.
    """
    side = IMAGE // PATCH
    groups = {"text": table, "image": CODES, "start": 1, "row": side}
    language: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4}
    language |= {"intermediate_size": 2 * WIDTH, "vocab_size": sum(groups.values())}
    # the usual 0.02 is for wide models: see instructseq_start
    language |= {"tie_word_embeddings": True, "pad_token_id": None, "initializer_range": WIDTH**-0.5}
    start = table + CODES
    return ExplanatoryConfig(
        language_config=LlamaConfig(**language),
        visual_config={"patch": PATCH, "num_vq_embeddings": CODES},
        image_size=IMAGE,
        groups=[list(one) for one in groups.items()],
        image_start=[start],
        row_ends=list(range(start + 1, start + 1 + side)),
        image_end=2,
        gated_image=True,
        temperature=0.0,  # an edit of these scenes has one right answer
        tie_word_embeddings=True,
    )


def new_model(seed: int = 0) -> tuple[Explanatory, InstructionReader]:
    """The tiny model with new weights, whose codes of images are fitted, and rest; and its tokenizer."""
    words = word_reader(every_word())
    torch.manual_seed(seed)
    model = Explanatory(tiny_config(len(words.tokenizer)))
    rng = np.random.default_rng([seed, 1])
    some = [lesson_triplet(one, rng) for one in draw_changes(rng, DRAWN)]
    images = prepare_images([image for one in some for image in (one.before, one.after)], IMAGE)
    latents = model.visual.latents(images).movedim(1, -1).flatten(0, -2)
    codes = fit_codes(latents.numpy(), seed)
    rows = (codes - codes.mean(0)) / codes.std()
    rows = rows @ torch.randn(rows.shape[1], WIDTH) * (rows.shape[1] * WIDTH) ** -0.5
    with torch.no_grad():
        model.visual.codebook.copy_(codes)
        # alike codes begin alike: what is learned of one is then learned of its neighbours
        table = model.decoder.language.model.embed_tokens.weight
        ids = model.forms.vocabulary.ids("image")
        table[ids.start : ids.stop] = 0.3 * table[ids.start : ids.stop] + rows
    model.visual.requires_grad_(False)
    return model, words


def fit_codes(latents: np.ndarray, seed: int) -> torch.Tensor:
    """Means of latents of patches ``float[n, 3 * side**2]``, three quarters of them of objects and edges."""
    channels = latents.reshape(len(latents), 3, -1)
    tones = channels.mean(2)
    busy = (channels.std(2).max(1) > 0.12) | (np.abs(tones - tones.mean(1, keepdims=True)).max(1) > 0.25)
    means = [k_means(latents[some], count, seed, most) for some, (count, most) in ((~busy, FLAT), (busy, BUSY))]
    return torch.from_numpy(np.concatenate(means)).float()


def lesson_source(words: InstructionReader, count: int, seed: int) -> LessonSource:
    """Batches of ``count`` triplets."""
    return LessonSource(lambda rng, _: triplet_batch(rng, words, IMAGE, count), count, seed)


class ExplanatoryLesson(nn.Module):
    """The loss of a batch: cross-entropy and z-loss of the tokens of the other image, as in the paper.

    To it comes where the object in question is.
    """

    def __init__(self, model: Explanatory) -> None:
        super().__init__()
        self.model = model
        self.grounding = Grounding(model.config.language_config.hidden_size)

    def forward(self, batch: TripletBatch, aux: bool = True) -> LessonOutput:
        """The loss, with the share of tokens that are right, and of those that differ from the input image."""
        before, after = (self.model.visual.encode(one) for one in (batch.before, batch.after))
        tokens, prefix = self.model.tokens(after), self.model.read(before, batch.ids, batch.mask)
        logits, read = self.model.decoder.with_states(prefix, tokens[:, :-1])
        losses = token_losses(logits, tokens, self.model.config.z_loss)
        changed = tokens != self.model.tokens(before)
        # what an edit leaves is copied within minutes; half of the loss is of what it changes
        moved = (losses * changed).sum(1) / changed.sum(1).clamp(min=1)
        right = logits.argmax(-1) == tokens
        edits = changed & (changed.float().mean(1, keepdim=True) < 0.5)
        figures = {name: _share(right, some) for name, some in (("right", ~edits), ("right_edits", edits))}
        image = read[:, -tokens.shape[1] :][:, self.model.inside]
        grounds = self.grounding(image, batch.grounds) * batch.phrased
        parts = {"tokens": (losses.mean(1) + moved).mean() / 2, "grounds": GROUNDING * grounds.mean()}
        return LessonOutput(parts, figures)


def _share(right: torch.Tensor, some: torch.Tensor) -> float:
    """Share of some tokens that are right; 1 of none."""
    return float(right[some].float().mean()) if some.any() else 1.0


def save(model: Explanatory, words: InstructionReader, folder: Path) -> None:
    """Writes the model in float16."""
    model.processor = words
    model.half().save_pretrained(folder)
