"""Adapters of every setting, against peft's own merge."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn

from instructseg.convert.adapters import CONFIG_FILE, plain_names
from instructseg.convert.readers import open_weights

TARGETS = ["q_proj", "v_proj"]


class Attention(nn.Module):
    """Two projections that have adapters and one that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.v_proj, self.dense = nn.Linear(8, 8), nn.Linear(8, 6), nn.Linear(6, 8)


class Language(nn.Module):
    """Layers named as in the official checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.ModuleDict({"self_attn": Attention()}) for _ in range(2)]
        self.model = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.lm_head = nn.Linear(8, 12, bias=False)


def save_trained(folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """Writes an unmerged checkpoint with random adapters; gives what peft's merge makes of it."""
    torch.manual_seed(0)
    given = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS, **settings}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft says that it sets fan_in_fan_out back
        wrapped: Any = get_peft_model(Language(), LoraConfig(**given))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name or (settings.get("bias") and "bias" in name):
                parameter.normal_()
    save_file({k: v.clone() for k, v in wrapped.state_dict().items()}, folder / "model.safetensors")
    wrapped.peft_config["default"].save_pretrained(folder)
    return {k: v.clone() for k, v in wrapped.merge_and_unload().state_dict().items()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lora_alpha": 1},
        {"use_rslora": True},
        {"rank_pattern": {"v_proj": 2}},
        {"alpha_pattern": {"v_proj": 3}},
        {"alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 3, "q_proj": 5}},
        {"alpha_pattern": {"proj": 3, "layers": 9}},  # no whole part of a name: no layer is meant
        {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {r"layers\.0\..*": 7}},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"fan_in_fan_out": True},
        {"modules_to_save": ["lm_head"]},
        {"layers_to_transform": [1], "layers_pattern": "layers"},
        {"target_modules": ".*q_proj"},
        {"exclude_modules": ["layers.0.self_attn.q_proj"]},
        {"init_lora_weights": "pissa"},
        {"lora_dropout": 0.3},
    ],
    ids=str,
)
def test_adapters_are_merged_as_by_peft(settings: dict[str, Any], tmp_path: Path) -> None:
    wanted = save_trained(tmp_path, **settings)
    found = dict(plain_names(open_weights(tmp_path), tmp_path))
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("use_dora", True),
        ("lora_bias", True),
        ("layer_replication", [[0, 1], [0, 2]]),
        ("trainable_token_indices", [3]),
        ("target_parameters", ["weight"]),
        ("megatron_config", {"a": 1}),
        ("alora_invocation_tokens", [1]),
        ("use_qalora", True),
        ("arrow_config", {"top_k": 1}),
        ("a_setting_of_tomorrow", "on"),
    ],
)
def test_unsupported_adapter_settings_are_refused_by_name(field: str, value: Any, tmp_path: Path) -> None:
    save_trained(tmp_path)
    file = tmp_path / CONFIG_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
    with pytest.raises(ValueError, match=f"'{field}' changes what an adapter does"):
        plain_names(open_weights(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type 'LOHA' is no LoRA"),
        ({"bias": 3}, "bias must be none, all or lora_only"),
        ({"use_rslora": "yes"}, "use_rslora must be true or false, not 'yes'"),
        ({"lora_alpha": None}, "lora_alpha must be a number above 0, not None"),
        ({"lora_alpha": True}, "lora_alpha must be a number above 0"),
        ({"r": 0}, "r must be a number above 0"),
        ({"r": 8}, "says rank 8, but its adapter has rank 4"),
        ({"rank_pattern": {"q_proj": 2}}, "q_proj: adapter_config.json says rank 2"),
        ({"alpha_pattern": [1]}, "alpha_pattern must map layer names to numbers"),
        ({"alpha_pattern": {"q_proj": "3"}}, r"alpha_pattern\.q_proj must be a number"),
        ({"alpha_pattern": {"(": 3}}, "which is no pattern"),
        ({"alpha_pattern": {"(a+)+": 3}}, "repeated groups"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_trained(tmp_path)
    file = tmp_path / CONFIG_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(ValueError, match=message) as caught:
        plain_names(open_weights(tmp_path), tmp_path)
    assert "\n" not in str(caught.value)


def test_settings_without_alpha_are_refused(tmp_path: Path) -> None:
    save_trained(tmp_path)
    (tmp_path / CONFIG_FILE).write_text('{"r": 4}')
    with pytest.raises(ValueError, match="has no 'lora_alpha'"):
        plain_names(open_weights(tmp_path), tmp_path)


def test_an_adapter_of_another_size_is_named(tmp_path: Path) -> None:
    tensors = {
        "model.q_proj.weight": torch.zeros(8, 8),
        "model.q_proj.lora_A.weight": torch.zeros(2, 6),
        "model.q_proj.lora_B.weight": torch.zeros(8, 2),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"\[8, 2\] times \[2, 6\] does not fit a weight \[8, 8\]"):
        plain_names(open_weights(tmp_path), tmp_path)


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    save_file({"module.a": torch.zeros(2), "a": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="are both a: remove the one that is"):
        plain_names(open_weights(tmp_path), tmp_path)
