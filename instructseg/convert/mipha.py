"""Assembly of the initial model of a training from Mipha-3B, SigLIP and Mask2Former."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from instructseg.convert.adapters import plain_names
from instructseg.convert.keymap import plan
from instructseg.convert.mask2former import load_mask2former
from instructseg.convert.official import copy_tokenizer, model_shapes
from instructseg.convert.official_config import read_shapes, text_fields, vision_fields
from instructseg.convert.readers import Weights, open_weights
from instructseg.convert.safetensors_file import check_types
from instructseg.convert.writers import new_folder, write_json
from instructseg.files import read_object
from instructseg.hub import model_path
from instructseg.model import InstructSeg, InstructSegConfig
from instructseg.processing.processor import CONFIG_NAME
from instructseg.processing.processor_config import processor_config

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from instructseg.model.configuration import ConfigFields

_TOWER = "model.vision_tower."
_SIGLIP_TEXT = ("text_model.", "logit_scale", "logit_bias")


def assemble_training_start(
    mipha: str | Path,
    siglip: str | Path | None,
    mask2former: str | Path,
    target: str | Path,
    overwrite: bool = False,
    seed: int = 0,
    **overrides: Unpack[ConfigFields],
) -> dict[str, str]:
    """Writes the initial model of a training.

    Args:
        mipha: Mipha-3B, a folder or a repository (language model, projector, its own SigLIP).
        siglip: another SigLIP of the same shape in transformers' layout; ``None`` keeps Mipha's, as released.
        mask2former: the Mask2Former file (Swin, pixel decoder, mask decoder).
        seed: of the fresh tensors (perceivers, mask tokens, projections).
        overrides: fields of :class:`InstructSegConfig` to set.

    Returns:
        The origin of each of our tensors: ``mipha``, ``siglip``, ``mask2former`` or ``fresh`` (random).

    Raises:
        FileExistsError, FileNotFoundError, OSError, ValueError: as the loaders of the three sources.
    """
    mipha = model_path(mipha)
    language = plain_names(open_weights(mipha), mipha)
    tower = None if siglip is None else _tower_names(open_weights(model_path(siglip)))
    masks = load_mask2former(
        mask2former, overrides.get("lateral", "released"), overrides.get("num_queries"),
        overrides.get("learned_queries", False),
    )  # fmt: skip
    config = _config(read_object(mipha / "config.json"), language, masks.fields, dict(overrides))
    shapes = model_shapes(config)
    state = dict(masks.state)
    origins = dict.fromkeys(shapes, "fresh") | dict.fromkeys(state, "mask2former")
    for origin, source in (("mipha", language), ("siglip", tower)):
        for name, tensor in _mapped(source, shapes):
            state[name], origins[name] = tensor, origin
    embeddings = state["language.model.embed_tokens.weight"]
    torch.manual_seed(seed)
    model = InstructSeg.from_pretrained(None, config=config, state_dict=state, dtype=embeddings.dtype)
    with new_folder(target, overwrite, model.num_parameters() * embeddings.itemsize, [mipha]) as folder:
        model.save_pretrained(folder)
        write_json(folder / CONFIG_NAME, processor_config(config).to_dict())
        copy_tokenizer(mipha, folder)
    return origins


def counted(origins: Mapping[str, str]) -> str:
    """How many tensors come from each origin, for the log."""
    counts = sorted(Counter(origins.values()).items())
    return ", ".join(f"{count} tensors from {origin}" for origin, count in counts)


def _config(
    official: dict[str, Any], language: Weights, masks: dict[str, Any], overrides: dict[str, Any]
) -> InstructSegConfig:
    shapes = language.shapes

    def fields() -> dict[str, Any]:
        return {
            "text_config": text_fields(official, shapes, "Mipha's config.json: "),
            "vision_config": vision_fields(official, shapes, "Mipha's config.json: "),
            "lm_head_size": shapes["lm_head.weight"][0],
        }

    return InstructSegConfig(**{**read_shapes(fields, shapes), **masks, **overrides})


def _tower_names(weights: Weights) -> Weights:
    """transformers' SigLIP under official names, its text half left out."""
    return Weights(
        {
            name if name.startswith(_TOWER) else _TOWER + name: entry
            for name, entry in weights.entries.items()
            if not name.startswith(_SIGLIP_TEXT)
        }
    )


def _mapped(source: Weights | None, shapes: dict[str, tuple[int, ...]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Our names and tensors of a source; others in it have no place here."""
    if source is None:
        return
    mapping = plan(source.shapes, shapes, partial=True)
    check_types("the start of training", source.entries, dict.fromkeys(mapping.targets, torch.float32))
    for name, tensor in source:
        yield from ((ours, part.clone()) for ours, part in mapping.split(name, tensor))
