"""Mask branch from Mask2Former checkpoints (detectron2 names)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from instructseg.convert.keymap import plan
from instructseg.convert.official import model_shapes
from instructseg.convert.official_config import backbone_fields, decoder_fields, read_shapes
from instructseg.convert.readers import open_weights
from instructseg.model import InstructSegConfig

_RENAMED = (
    (r"^backbone\.", "model.vision_tower_mask."),
    (r"^sem_seg_head\.predictor\.", "predictor."),
    (r"^sem_seg_head\.(pixel_decoder\.)?", "pixel_decoder."),  # without: files of the first release
    (r"^predictor\.static_query\.", "predictor.query_feat."),
    (r"^(pixel_decoder\.(?:adapter|layer)_1)\.weight$", r"\1.0.weight"),
    (r"^(pixel_decoder\.(?:adapter|layer)_1)\.norm\.", r"\1.1."),
)
_DROPPED = (
    (r"predictor\.class_embed\..*", "classes are replaced by the text classifier"),
    (r"criterion\..*", "part of the loss"),
)
_LATERAL_BIASES = ("pixel_decoder.decoder.adapter_1.0.bias", "pixel_decoder.decoder.layer_1.0.bias")


@dataclass(frozen=True, eq=False)
class Mask2FormerWeights:
    """The mask branch of a Mask2Former checkpoint.

    Attributes:
        state: our names and tensors (``backbone.*``, ``pixel_decoder.*``, ``mask_decoder.*``).
        fields: the fields of :class:`InstructSegConfig` that fit them.
        dropped: names in the file that have no place here, and why.
    """

    state: dict[str, torch.Tensor]
    fields: dict[str, Any]
    dropped: dict[str, str]


def load_mask2former(
    path: str | Path, lateral: str = "released", num_queries: int | None = None, learned_queries: bool = False
) -> Mask2FormerWeights:
    """Reads a ``.pkl`` of the model zoo, a ``.pth`` or a ``.safetensors`` file.

    Args:
        lateral: ``plain`` computes what Mask2Former does; ``released`` has the biases of the released
            InstructSeg, which start at zero.
        num_queries: how many of the file's queries are taken, the first ones; ``None`` for all, or 100 of 200.
        learned_queries: whether the content of the queries is taken too.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, unsafe, or not a Mask2Former with a Swin backbone.
    """
    tensors, dropped = _renamed(Path(path))
    for name in ("predictor.query_embed.weight", "predictor.query_feat.weight"):
        if name not in tensors or tensors[name].dim() != 2:
            raise ValueError(f"{path} is not a Mask2Former checkpoint: it has no table {name}")
    rows, dim = tensors["predictor.query_embed.weight"].shape
    queries = num_queries or (100 if rows == 200 else rows)
    if queries > rows:
        raise ValueError(f"{path} has {rows} queries; {queries} were asked for")
    for name in ("predictor.query_embed.weight", "predictor.query_feat.weight"):
        tensors[name] = tensors[name][:queries]
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    fields = {
        **read_shapes(lambda: {"backbone_config": backbone_fields(shapes), **decoder_fields(shapes)}, shapes),
        "decoder_dim": dim,
        "num_queries": queries,
        "lateral": lateral,
        "learned_queries": learned_queries,
    }
    mapping = plan(shapes, model_shapes(InstructSegConfig(**fields)), partial=True)
    state = {
        ours: part.clone() for name, tensor in tensors.items() for ours, part in mapping.split(name, tensor)
    }
    if lateral == "released":
        width = fields["conv_dim"]
        state.update({name: torch.zeros(width) for name in _LATERAL_BIASES})
    return Mask2FormerWeights(state, fields, dropped | mapping.dropped)


def _renamed(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The file's tensors under official names, and the dropped ones with reasons."""
    tensors, dropped = {}, {}
    for name, tensor in open_weights(path):
        if not tensor.is_floating_point() and not name.endswith("relative_position_index"):
            raise ValueError(f"{path}: {name} holds {tensor.dtype}, not floats: the file is damaged")
        official = name
        for pattern, replacement in _RENAMED:
            official = re.sub(pattern, replacement, official)
        reason = next((why for pattern, why in _DROPPED if re.fullmatch(pattern, official)), None)
        if reason is None:
            tensors[official] = tensor.clone()
        else:
            dropped[name] = reason
    return tensors, dropped
