"""The tiny VisionLLM before training: its vocabulary, its size, and weights to start from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from instructseg.systems.visionllm.visionllm_config import VisionLLMConfig
from instructseg.systems.visionllm.visionllm_model import VisionLLM
from instructseg.systems.visionllm.visionllm_processor import VisionLLMProcessor

CLASSES, HALF_BINS, IMAGE_SIZE, MOST_TOKENS = 16, 64, 48, 256
SYMBOLS = ("<pad>", "<unk>", "{", "}", "(", ")", ":", ",", ".", "?", "!", "c", "x1", "y1", "x2", "y2", "points")


def word_processor(words: Iterable[str]) -> VisionLLMProcessor:
    """A processor whose tokens are whole words, then class tokens, no object, and location tokens."""
    numbers = map(str, range(3, 25))
    plain = dict.fromkeys([*SYMBOLS, *numbers, *(word.lower() for word in words)])
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(plain)}, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    places = [f"<p{n}>" for n in range(-HALF_BINS, HALF_BINS + 1)]
    extra = [*(f"<c{n}>" for n in range(CLASSES)), "<none>", *places]
    core.add_tokens([AddedToken(one, normalized=False) for one in extra])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", model_max_length=MOST_TOKENS
    )
    return VisionLLMProcessor(tokenizer, IMAGE_SIZE)


def tiny_config(table: int) -> VisionLLMConfig:
    """A size that learns drawn scenes on a CPU; maps at strides 4, 8 and 16.

    Args:
        table: number of tokens in all.
    """
    backbone = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 32, "depths": [2, 1, 1]}
    backbone |= {"hidden_sizes": [48, 64, 96], "out_features": ["stage1", "stage2", "stage3"]}
    detector: dict[str, Any] = {"backbone_config": backbone, "d_model": 64, "num_feature_levels": 3}
    detector |= {"num_queries": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_n_points": 2}
    detector |= {"encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "with_box_refine": True, "dropout": 0.0}
    detector |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    text: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    text |= {
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": MOST_TOKENS,
    }
    language: dict[str, Any] = {
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 192,
    }
    return VisionLLMConfig(
        detector_config=detector,
        text_config={**text, "vocab_size": table},
        language_config={**language, "vocab_size": table, "tie_word_embeddings": True},
        image_size=IMAGE_SIZE,
        classes=CLASSES,
        half_bins=HALF_BINS,
        trained_norms=True,
    )


def tiny_model(processor: VisionLLMProcessor, seed: int = 0) -> VisionLLM:
    """The tiny model with new weights, prepared for training (all three steps are ours).

    Image tokens start in rows and columns over the image; few of them are objects; neighbouring location tokens
    have similar rows.
    """
    torch.manual_seed(seed)
    model = VisionLLM(tiny_config(len(processor.tokenizer)))
    detector: Any = model.tokenizer.detector
    queries = detector.query_position_embeddings.weight
    side = math.ceil(math.sqrt(len(queries)))
    cells = torch.arange(len(queries))
    grid = torch.stack([cells % side, cells // side], dim=1)
    table = model.language.model.embed_tokens.weight
    bins = torch.linspace(-1, 1, 2 * HALF_BINS + 1)
    rows = torch.exp(-(((bins[:, None] - torch.linspace(-1, 1, table.shape[1])) / 0.08) ** 2))
    heads: Any = zip(detector.decoder.bbox_embed, model.tokenizer.objectness, strict=True)
    with torch.no_grad():
        detector.reference_points.weight.zero_()
        detector.reference_points.weight[[0, 1], [0, 1]] = 1.0
        detector.reference_points.bias.zero_()
        queries[:, :2] = torch.logit((grid + 0.5) / side)
        table[model.config.first_location :] = 0.15 * (rows - rows.mean(1, keepdim=True))
        for move, score in heads:
            move[-1].weight.zero_()
            move[-1].bias.zero_()
            score.bias.fill_(-2.0)
    return model
