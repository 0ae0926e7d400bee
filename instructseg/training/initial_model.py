"""Initial model of a run: random weights of a preset, joined pretrained weights, or a trained model."""

from __future__ import annotations

from pathlib import Path

import torch

from instructseg.config import ModelSource
from instructseg.convert import assemble_training_start
from instructseg.convert.mipha import counted
from instructseg.convert.pretrained_parts import join_pretrained_parts
from instructseg.hub import DRAWN_MODEL, bundled, is_bundled
from instructseg.log import get_logger
from instructseg.model import PRESETS, InstructSeg, InstructSegConfig, preset
from instructseg.model.language import add_lora
from instructseg.model.quantized import dequantize_model
from instructseg.pretrained import load_pretrained
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import processor_config
from instructseg.processing.storage import load_tokenizer
from instructseg.yaml_text import one_line

logger = get_logger(__name__)

START_FOLDER = "start"
"""Folder of the joined weights in the output folder of a run."""


def new_processor(config: InstructSegConfig) -> InstructSegProcessor:
    """Returns a processor for random weights: the tokenizer of ``nano``, no system prompt."""
    tokenizer = load_tokenizer(DRAWN_MODEL)
    if len(tokenizer) > config.text_config.vocab_size:
        raise ValueError(
            f"the bundled tokenizer has {len(tokenizer)} tokens, but text_config.vocab_size is "
            f"{config.text_config.vocab_size}: raise it"
        )
    return InstructSegProcessor(tokenizer, processor_config(config, system=""))


def build_model(
    source: ModelSource, seed: int, folder: Path | None = None
) -> tuple[InstructSeg, InstructSegProcessor]:
    """Returns the model to train, in float32, and its processor.

    Args:
        seed: of all weights that no file fills.
        folder: output folder of the run; required by ``source.start``, which is joined there once.

    Raises:
        FileNotFoundError, ValueError: a file is missing or does not fit, or overrides are not possible.
    """
    if source.start is not None:
        if folder is None:
            raise ValueError("model.start is joined in the output folder of a run: give one")
        return _trained(str(join_start(source, seed, folder)), source, seed)
    if source.preset is not None:
        torch.manual_seed(seed)
        try:
            config = preset(source.preset, **source.overrides)
            return InstructSeg(config), new_processor(config)
        except Exception as error:  # impossible sizes fail wherever they are first used
            if not source.overrides:
                raise
            message = f"model.overrides make no model of the preset {source.preset}: {one_line(error)}"
            raise ValueError(message) from error
    if source.name in PRESETS and not is_bundled(source.name):
        raise ValueError(
            f"model.name: {source.name} is no trained model; for random weights: preset:{source.name}"
        )
    return _trained(source.name, source, seed)


def join_start(source: ModelSource, seed: int, folder: Path) -> Path:
    """Joins the weights of ``source.start`` in one model, once; returns its folder.

    Raises:
        FileNotFoundError, ValueError: a file is missing or does not fit.
    """
    start = source.start
    assert start is not None
    if source.preset not in PRESETS:
        known = ", ".join(f"preset:{name}" for name in PRESETS)
        raise ValueError(f"model.start fills a preset ({known}), not '{source.name}'")
    target = folder / START_FOLDER
    if target.is_dir():
        return target
    fields = {**PRESETS[source.preset], **source.overrides}
    fields.pop("lora", None)
    if start.language is not None:
        counts = join_pretrained_parts(fields, start.language, start.vision, start.backbone, target, seed)
        made = ", ".join(f"{count} tensors from {part}" for part, count in counts.items())
    else:
        assert start.mipha is not None and start.mask2former is not None
        made = counted(
            assemble_training_start(start.mipha, start.siglip, start.mask2former, target, seed=seed, **fields)
        )
    logger.info("wrote %s: %s", target, made)
    return target


def describe_source(source: ModelSource) -> str:
    """Returns the origin of the initial weights, for the log."""
    if source.start is not None:
        return f"pretrained weights of model.start, in the preset {source.name}"
    if source.preset is not None:
        return f"random weights, the preset {source.preset}"
    if is_bundled(source.name):
        name = bundled(source.name)
        random = f" (for random ones of its sizes: model.name=preset:{name})" if name in PRESETS else ""
        return f"the weights of the bundled model {name}{random}"
    return f"the weights of {source.name}"


def _trained(name: str, source: ModelSource, seed: int) -> tuple[InstructSeg, InstructSegProcessor]:
    """Loads a model from a folder or the hub, and adds the adapters of ``overrides``."""
    adapters = source.overrides.get("lora")
    others = source.overrides.keys() - {"lora"}
    if others and source.start is None:
        raise ValueError(f"model.overrides.{min(others)}: {name} is trained already; only lora can be added")
    model, processor = load_pretrained(name, "cpu", torch.float32)
    dequantize_model(model)  # what is stored in few bits has no gradient
    if adapters and not model.config.lora:
        torch.manual_seed(seed)
        add_lora(model.language, **adapters)
        model.config.lora = dict(adapters)
    elif adapters and model.config.lora != dict(adapters):
        raise ValueError(
            f"model.overrides.lora: {name} has other adapters, {model.config.lora}: merge them first"
        )
    return model, processor
