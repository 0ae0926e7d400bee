"""Start of training from pretrained parts (language model, tower, mask backbone) by transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn import functional as F
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.utils import logging

from instructseg.convert.official import model_shapes
from instructseg.convert.readers import open_weights
from instructseg.convert.writers import new_folder
from instructseg.files import read_object
from instructseg.hub import TEXT_FILES, model_path
from instructseg.model import InstructSeg, InstructSegConfig, backbones
from instructseg.model.backbones.efficientnet_lite import EfficientNetLiteTrunk, load_efficientnet_lite
from instructseg.model.language import KINDS
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import ProcessorConfig, processor_config
from instructseg.processing.storage import load_tokenizer
from instructseg.yaml_text import one_line

State = dict[str, torch.Tensor]

_SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "patch_size", "embed_dim", "hidden_sizes", "depths", "num_heads",
)  # fmt: skip
"""Fields in which a part must agree with the preset."""
_HEADS = {
    "language": ("pooler.", "cls."),
    "vision": ("text_model.", "logit_scale", "logit_bias"),
    "backbone": ("classifier.", "head.", "pooler.", "layernorm.", "norm.", "layer_norm."),
}
"""Tensors of a part's file that this model has no use for."""
_NEW_NORMS = "hidden_states_norms."
"""Norms of the four maps, which no classifier's file has: they start as the identity."""
_WORD_TABLES = ("embed_tokens.weight", "word_embeddings.weight", "lm_head.weight", "lm_head.bias")


def join_pretrained_parts(
    fields: Mapping[str, Any],
    language: str | Path,
    vision: str | Path | None,
    backbone: str | Path | None,
    target: str | Path,
    seed: int = 0,
) -> dict[str, int]:
    """Writes a model of pretrained parts; all other weights are random.

    Args:
        fields: of :class:`InstructSegConfig`, such as those of a preset; the parts must have its sizes.
        language: folder or hub repository, which also gives the tokenizer (``[SEG]`` is added).
        vision: SigLIP or SigLIP 2 of fixed size; ``None`` for random weights or a shared tower.
        backbone: of transformers, or public weights of EfficientNet-Lite; ``None`` for random weights.

    Returns:
        Number of tensors from each part, and of random ones as ``random``.

    Raises:
        FileExistsError, FileNotFoundError: ``target`` exists, or a part is missing.
        ValueError: a part is damaged, lacks tensors, has others, or has other sizes than ``fields`` describe.
    """
    config = InstructSegConfig(**fields)
    if vision is not None and config.vision_tower != "siglip":
        raise ValueError(f"model.start.vision: a '{config.vision_tower}' tower takes no SigLIP: leave it out")
    folder = _folder(language)
    config.text_config, state = _language(folder, config)
    counts = {"language": len(state)}
    if vision is not None:
        config.vision_config, tower = _vision(_folder(vision), config)
        state |= tower
        counts["vision"] = len(tower)
    if backbone is not None:
        config.backbone_config, trunk = _backbone(_folder(backbone), config)
        state |= trunk
        counts["backbone"] = len(trunk)
    processor = InstructSegProcessor(load_tokenizer(folder), _processor_config(config))
    _grow_word_tables(config, state, len(processor.tokenizer))
    shapes = model_shapes(config)
    for name in state:
        if shapes.get(name) != tuple(state[name].shape):
            raise ValueError(
                f"model.start: '{name}' {tuple(state[name].shape)} does not fit {shapes.get(name)}"
            )
    torch.manual_seed(seed)
    dtype = next(iter(state.values())).dtype
    model = InstructSeg.from_pretrained(None, config=config, state_dict=state, dtype=dtype)
    model.processor = processor
    with new_folder(target, False, model.num_parameters() * dtype.itemsize, [folder]) as new:
        model.save_pretrained(new)
    return {**counts, "random": len(shapes.keys() - state.keys())}


def _folder(name: str | Path) -> Path:
    return model_path(name, (*TEXT_FILES, "*.safetensors"))


def _language(folder: Path, config: InstructSegConfig) -> tuple[Any, State]:
    """Configuration and weights of the language model."""
    kind = config.text_config.model_type
    found = read_object(folder / "config.json").get("model_type")
    if found != kind:
        raise ValueError(f"model.start.language: {folder} is of type '{found}', the preset needs '{kind}'")
    text = KINDS[kind].config_class.from_pretrained(folder)
    _compare_sizes("language", folder, text, config.text_config)
    options: dict[str, Any] = {"config": text, "lm_head_size": config.lm_head_size}
    return text, _pretrained("language", KINDS[kind], folder, "language.", options)


def _vision(folder: Path, config: InstructSegConfig) -> tuple[Any, State]:
    """Configuration and weights of the tower, up to the selected layer."""
    read_object(folder / "config.json")  # a missing or damaged file is named
    tower = SiglipVisionConfig.from_pretrained(folder)
    _compare_sizes("vision", folder, tower, config.vision_config)
    found, needed = tower.image_size, config.vision_config.image_size
    if found != needed:
        raise ValueError(f"model.start.vision: {folder} takes {found} pixels, the preset {needed}")
    state = _pretrained("vision", SiglipVisionModel, folder, "vision.model.", {"config": tower})
    used = model_shapes(config)  # without the layers after the selected one and the pooling head
    return tower, {name: tensor for name, tensor in state.items() if name in used}


def _backbone(folder: Path, config: InstructSegConfig) -> tuple[Any, State]:
    """Configuration and weights of the mask backbone; positions are resampled to the preset's image size."""
    wanted = config.backbone_config
    trunk: Any = backbones.trunk_class(wanted.model_type)
    if trunk is EfficientNetLiteTrunk:
        built = trunk(wanted)
        load_efficientnet_lite(built, dict(open_weights(folder)))
        return wanted, {f"backbone.{name}": tensor for name, tensor in built.state_dict().items()}
    found = read_object(folder / "config.json").get("model_type")
    if found != wanted.model_type:
        raise ValueError(
            f"model.start.backbone: {folder} is of type '{found}', the preset needs '{wanted.model_type}'"
        )
    own = type(wanted).from_pretrained(folder)
    _compare_sizes("backbone", folder, own, wanted)
    with torch.device("meta"):
        ((prefix, inner),) = trunk(own).named_children()
    state = _pretrained("backbone", type(inner), folder, f"backbone.{prefix}.", {"config": inner.config})
    if hasattr(wanted, "image_size"):
        own = deepcopy(own)
        own.image_size = wanted.image_size
    shapes = model_shapes(InstructSegConfig(**{**config.to_dict(), "backbone_config": own}))
    kept = {name: tensor for name, tensor in state.items() if name in shapes}  # Swin's last norm is not used
    for name, tensor in kept.items():
        if name.endswith("position_embeddings") and tuple(tensor.shape) != shapes[name]:
            kept[name] = _resample_positions(tensor, shapes[name][1])
    return own, kept


def _pretrained(part: str, cls: Any, folder: Path, prefix: str, options: dict[str, Any]) -> State:
    """Weights of a part by the names of the whole model; every tensor filled, none left over but heads."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what is missing or left over is checked below
    try:
        model, info = cls.from_pretrained(
            folder, dtype="auto", use_safetensors=True, local_files_only=True, output_loading_info=True,
            key_mapping=getattr(cls, "published_names", None), **options,
        )  # fmt: skip
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
    ) as error:  # of transformers and safetensors
        raise ValueError(f"model.start.{part}: {folder} cannot be read: {one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
    inner = f"{cls.base_model_prefix}."
    missing = [name for name in info["missing_keys"] if not name.startswith(_NEW_NORMS)]
    others = [name for name in info["unexpected_keys"] if not name.removeprefix(inner).startswith(_HEADS[part])]
    if missing or others:
        raise ValueError(
            f"model.start.{part}: {folder} lacks {sorted(missing)[:3]} and has {sorted(others)[:3]} too many"
        )
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


def _compare_sizes(part: str, folder: Path, own: Any, preset: Any) -> None:
    """Refuses a part of other sizes than the preset's: the rest of the model is built around them."""
    for name in _SIZES:
        found, needed = getattr(own, name, None), getattr(preset, name, None)
        if _plain(found) != _plain(needed):
            raise ValueError(f"model.start.{part}: {folder} has {name} {found}, the preset needs {needed}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _processor_config(config: InstructSegConfig) -> ProcessorConfig:
    """Sizes, and the pixel values that the backbone was trained on."""
    made = processor_config(config, system="")
    if config.backbone_config.model_type == "efficientnet_lite":
        made = replace(made, seg_mean=(127.0,) * 3, seg_std=(128.0,) * 3)
    if config.vision_tower == "shared":  # the same trunk reads both, so it should see the same values
        mean, std = ([value / 255 for value in values] for values in (made.seg_mean, made.seg_std))
        made = replace(made, clip_mean=(mean[0], mean[1], mean[2]), clip_std=(std[0], std[1], std[2]))
    return made


def _grow_word_tables(config: InstructSegConfig, state: State, tokens: int) -> None:
    """Appends rows for added tokens, each the mean of the others, where the tables have none to spare."""
    rows = config.text_config.vocab_size
    if tokens <= rows:
        return
    config.text_config.vocab_size = tokens
    for name, table in state.items():
        if name.startswith("language.") and name.endswith(_WORD_TABLES) and len(table) == rows:
            mean = table.float().mean(0, keepdim=True).to(table.dtype)
            state[name] = torch.cat([table, mean.expand(tokens - rows, *table.shape[1:])])


def _resample_positions(table: torch.Tensor, cells: int) -> torch.Tensor:
    """``float[1, N, C]`` of a square of positions to ``float[1, cells, C]``, bicubic."""
    side, new = (round(number**0.5) for number in (table.shape[1], cells))
    square = table.float().transpose(1, 2).reshape(1, -1, side, side)
    resized = F.interpolate(square, (new, new), mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2).to(table.dtype)
