"""Allowed values of a ``config.json``, and errors for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instructseg.hub import DRAWN_MODEL
from instructseg.model import PRESETS, InstructSegConfig, preset
from instructseg.model.config_file import built_on_meta, read_config
from instructseg.model.config_rules import MODEL, PARTS

BUNDLED: dict[str, Any] = json.loads((DRAWN_MODEL / "config.json").read_text())
DELETE = object()


def changed(folder: Path, path: str, value: Any) -> Path:
    """The bundled configuration with one value replaced."""
    values = json.loads(json.dumps(BUNDLED))
    *parents, key = path.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    if value is DELETE:
        del place[key]
    else:
        place[key] = value
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("name", PRESETS)
def test_saved_configurations_are_read_back(name: str, tmp_path: Path) -> None:
    config = preset(name, quantize="int8", lora={"r": 2, "alpha": 4, "dropout": 0.1, "targets": ["q_proj"]})
    config.save_pretrained(tmp_path)
    found, wanted = read_config(tmp_path).to_dict(), config.to_dict()
    for values in (found, wanted):  # the backbone names its stages itself
        for key in ("out_features", "out_indices"):
            values["backbone_config"].pop(key, None)
    assert found == wanted


def test_the_old_spelling_of_quantize_is_read(tmp_path: Path) -> None:
    values = {key: value for key, value in BUNDLED.items() if key != "quantize"}
    (tmp_path / "config.json").write_text(json.dumps({**values, "quantise": "int8"}))
    assert read_config(tmp_path).quantize == "int8"
    (tmp_path / "config.json").write_text(json.dumps({**values, "quantise": "int3"}))
    with pytest.raises(ValueError, match="quantize must be one of null, int8, int4, not 'int3'"):
        read_config(tmp_path)
    old: dict[str, Any] = {"quantise": "int4"}
    assert InstructSegConfig(**old).quantize == "int4"


NEEDED = [key for key, rule in MODEL.items() if rule.needed]
NEEDED += [f"vision_config.{key}" for key, rule in PARTS["siglip_vision_model"].items() if rule.needed]
NEEDED += [f"text_config.{key}" for key, rule in PARTS["phi"].items() if rule.needed]
NEEDED += [f"backbone_config.{key}" for key, rule in PARTS["swin"].items() if rule.needed]


@pytest.mark.parametrize("path", NEEDED)
def test_every_key_is_looked_at(path: str, tmp_path: Path) -> None:
    """A missing key is not filled with the released number, and no wrong type gets to torch."""
    with pytest.raises(ValueError, match=rf"config\.json: {path} is missing: it must be "):
        read_config(changed(tmp_path, path, DELETE))
    for wrong in ({"a": {"b": 1}}, [[None]], float("nan"), -1, 10**30, "no such value" * 20):
        if path == "open_clip_model" and isinstance(wrong, dict | str):
            continue
        if path == "vision_feature_layer" and wrong == -1:
            continue
        with pytest.raises(ValueError, match=rf"config\.json: {path} must be .+, not ") as caught:
            read_config(changed(tmp_path, path, wrong))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_type", DELETE, "a model of type None"),
        ("text_config", None, "text_config must be an object, not None"),
        ("text_config.model_type", "gpt9", "no language model 'gpt9'"),
        ("backbone_config.model_type", "gpt9", "no backbone 'gpt9'"),
        ("dtype", "int8", "dtype must be one of float32, float16, bfloat16, float64, not 'int8'"),
        ("dtype", 16, "dtype must be one of"),
        ("quantization_config", {"quant_method": "bitsandbytes"}, "quantization_config is not supported"),
        ("vision_tower", "shared", "shared_clip_size is missing"),
        ("lora", {"r": 8}, "lora must be null, or an object with r, alpha, dropout and targets, not"),
        ("quantize", "int3", "quantize must be one of null, int8, int4, not 'int3'"),
        ("text_config.rope_parameters", {"rope_theta": 1e4}, "rope_parameters must be"),
        ("vmtf_levels", ["res9"], r"vmtf_levels must be a list of 1 to 4 values"),
    ],
)
def test_wrong_values_are_named(path: str, value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_config(changed(tmp_path, path, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("text_config.hidden_act", "swishh"),
        ("vision_config.num_attention_heads", 7),
        ("vision_feature_layer", 500),
        ("decoder_heads", 7),
        ("text_config.rope_parameters", {"rope_theta": 1e4, "rope_type": "x", "partial_rotary_factor": 0.5}),
    ],
)
def test_values_that_do_not_go_together(path: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no model ") as caught:
        built_on_meta(read_config(changed(tmp_path, path, value)), str(tmp_path))
    assert "\n" not in str(caught.value)


def test_keys_outside_the_architecture_are_ignored(tmp_path: Path) -> None:
    values = json.loads(json.dumps(BUNDLED))
    for part in (values, values["text_config"], values["vision_config"], values["backbone_config"]):
        part.update(
            {"return_dict": False, "output_attentions": True, "id2label": 3, "auto_map": {"AutoModel": "x.Y"}}
        )
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert read_config(tmp_path).to_dict() == read_config(DRAWN_MODEL).to_dict()
