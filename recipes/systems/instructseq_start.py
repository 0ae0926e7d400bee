"""The tiny InstructSeq before training: its vocabulary, its size, and weights to start from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast, RobertaConfig

from instructseg.systems.instructseq.instructseq_config import InstructSeqConfig
from instructseg.systems.instructseq.instructseq_model import InstructSeq
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.visual_codes import prepare_images
from recipes.systems.instructseq_lessons import drawn_answers
from recipes.systems.scenes import SHAPES

MOST_TOKENS = 40
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
WIDTH, CODES = 128, 320
DRAWN = 1500
"""Answers from which the codes are fitted."""
PAINTED = 8000
"""Cells of them that are looked at."""


def word_reader(words: Iterable[str]) -> InstructionReader:
    """A tokenizer of whole words."""
    plain = dict.fromkeys([*SPECIAL, *(word.lower() for word in words)])
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(plain)}, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return InstructionReader(
        PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=MOST_TOKENS, **names)
    )


def tiny_config(table: int) -> InstructSeqConfig:
    """A size that learns drawn scenes on a CPU: 64 image tokens, 64 codes of 4 x 4 pixels of an answer.

    Args:
        table: number of words.
    """
    image = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 32}
    image |= {"depths": [2, 2], "hidden_sizes": [48, 96]}
    text: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    text |= {"intermediate_size": 128, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    # the usual 0.02 is for wide models: in a narrow one, words of one kind stay alike, and are not told apart
    text["initializer_range"] = text["hidden_size"] ** -0.5
    text |= {"vocab_size": table, "max_position_embeddings": MOST_TOKENS + 1}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "type_vocab_size": 1}
    config = InstructSeqConfig(
        image_config=image,
        text_config=RobertaConfig(**text),
        visual_config={"patch": 4, "num_vq_embeddings": CODES},
        image_size=64,
        answer_size=32,
        locations=33,
        classes=list(SHAPES),
        cell_colours=True,
        gated_image=True,
        frozen_text=False,
        samples=6,
    )
    language: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 3, "num_attention_heads": 4}
    language |= {"intermediate_size": 2 * WIDTH, "vocab_size": config.vocabulary.size}
    language |= {"tie_word_embeddings": True, "pad_token_id": None, "initializer_range": WIDTH**-0.5}
    config.language_config = LlamaConfig(**language)
    return config


def tiny_model(words: InstructionReader, seed: int = 0) -> InstructSeq:
    """The tiny model with new weights, whose codes of images are fitted, and rest."""
    torch.manual_seed(seed)
    model = InstructSeq(tiny_config(len(words.tokenizer)))
    images = prepare_images(drawn_answers(np.random.default_rng([seed, 1]), DRAWN), model.visual.size)
    latents = model.visual.latents(images).movedim(1, -1).flatten(0, -2)
    with torch.no_grad():
        model.visual.codebook.copy_(fit_codes(latents.numpy(), CODES, seed))
    model.visual.requires_grad_(False)
    return model


def fit_codes(latents: np.ndarray, count: int, seed: int) -> torch.Tensor:
    """Means of latents ``float[n, C]``, ``float32[count, C]``, by k-means; the most frequent one is the first.

    That is the empty ground; the others are of what is painted.
    """
    kinds, places, numbers = np.unique(latents, axis=0, return_inverse=True, return_counts=True)
    ground = int(numbers.argmax())
    painted = latents[places.ravel() != ground]
    means = k_means(painted, count - 1, seed, PAINTED)
    return torch.from_numpy(np.concatenate([kinds[ground : ground + 1], means])).float()


def k_means(latents: np.ndarray, count: int, seed: int, most: int) -> np.ndarray:
    """``count`` means of ``most`` random latents ``float[n, C]``, ``float[count, C]``."""
    rng = np.random.default_rng(seed)
    chosen = latents[rng.permutation(len(latents))[:most]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a mean without latents stays where it was
        means, _ = kmeans2(chosen, count, iter=10, minit="points", rng=rng)
    return np.asarray(means)
