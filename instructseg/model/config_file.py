"""Checked reader of ``config.json`` of this package's layout.

The file is untrusted. Missing values are not filled with defaults, which would make a model of other sizes;
keys outside the architecture (transformers writes many) are not read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from instructseg.files import parse_json, read_object
from instructseg.model.config_rules import MODEL, check_values, rules_of, shown
from instructseg.model.configuration import InstructSegConfig, part_classes

CONFIG_FILE = "config.json"
_DTYPES = ("float32", "float16", "bfloat16", "float64")


def read_config(folder: str | Path) -> InstructSegConfig:
    """The configuration in a folder of our layout.

    Raises:
        FileNotFoundError: there is no ``config.json``.
        ValueError: a value is missing or not allowed; it is named.
    """
    file = Path(folder) / CONFIG_FILE
    values = read_model_type(folder)
    where = f"{file}: "
    if values.get("quantization_config"):
        raise ValueError(
            f"{where}quantization_config is not supported: save the model without it, and load it with "
            "quantize='int8' or 'int4'"
        )
    if "quantise" in values:  # the key's old spelling
        values.setdefault("quantize", values["quantise"])
    check_values(values, MODEL, where)
    if values.get("vision_tower") == "shared" and "shared_clip_size" not in values:
        raise ValueError(f"{where}shared_clip_size is missing: a shared vision tower needs it")
    known = MODEL.keys() | InstructSegConfig.__annotations__.keys()
    fields: dict[str, Any] = {key: values[key] for key in known if key in values}
    for part in ("vision_config", "text_config", "backbone_config"):
        if not isinstance(values.get(part), dict):
            raise ValueError(f"{where}{part} must be an object, not {shown(values.get(part))}")
    try:
        classes = part_classes(values)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error
    for part, kind in classes.items():
        rules, given = rules_of(kind), values[part]
        check_values(given, rules, f"{where}{part}.")
        fields[part] = {"model_type": kind.model_type, **{key: given[key] for key in rules if key in given}}
    try:
        config = InstructSegConfig(**fields)
    except Exception as error:  # transformers raises errors of any class while it checks a configuration
        raise ValueError(f"{where}no model has these values ({_first_line(error)})") from error
    config.dtype = stored_dtype(values, where)
    return config


def read_model_type(
    folder: str | Path, kinds: Collection[str] = (InstructSegConfig.model_type,)
) -> dict[str, Any]:
    """Content of the ``config.json`` of an InstructSeg, ``model_type`` among it.

    Args:
        folder: of the checkpoint.
        kinds: allowed values of ``model_type``.

    Raises:
        FileNotFoundError: the folder has no such file.
        ValueError: it is damaged or of another model.
    """
    file = Path(folder) / CONFIG_FILE
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is no checkpoint: it has no {CONFIG_FILE}")
    values = read_object(file)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(
            f"{folder} holds a model of type {shown(kind)}, not an InstructSeg: choose another one"
        )
    return values


def stored_dtype(values: Mapping[str, Any], where: str) -> torch.dtype | None:
    """The type of the stored weights by ``config.json``; ``None`` where it names none.

    Raises:
        ValueError: it is no floating-point type.
    """
    given = values.get("dtype", values.get("torch_dtype"))
    if given is None:
        return None
    name = str(given).removeprefix("torch.")
    if name not in _DTYPES:
        raise ValueError(f"{where}dtype must be one of {', '.join(_DTYPES)}, not {shown(given)}")
    return getattr(torch, name)


def built_on_meta(config: InstructSegConfig, where: str) -> dict[str, torch.Tensor]:
    """Names, shapes and types of a model's state, without values; proves that it can be built.

    Tied tensors are one object.

    Args:
        config: of the model.
        where: its file or folder, for the error.

    Raises:
        ValueError: no model can be built from the configuration.
    """
    from instructseg.model.instructseg import InstructSeg

    try:
        if config.vision_tower == "open_clip":  # it computes with the values of its tensors while it builds
            with torch.device("cpu"):
                return InstructSeg(config).state_dict(keep_vars=True)
        return dict(_state(config.to_json_string(use_diff=False)))
    except ImportError as error:  # an OpenCLIP tower without its package
        raise ValueError(f"{where}: {error}") from error
    except Exception as error:  # sizes that do not go together fail anywhere in torch and transformers
        raise ValueError(
            f"{where}: no model can be built from its {CONFIG_FILE} ({_first_line(error)})"
        ) from error


@lru_cache(maxsize=4)
def _state(config: str) -> dict[str, torch.Tensor]:
    """State on the meta device of a model by its configuration in JSON; each loading and plan needs one."""
    from instructseg.model.instructseg import InstructSeg

    with torch.device("meta"):
        return InstructSeg(InstructSegConfig(**parse_json(config, CONFIG_FILE))).state_dict(keep_vars=True)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
