"""The table covers the published checkpoint, both ways, and says what does not fit."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch

from instructseg.convert.keymap import Joiner, official_name, official_shapes, our_names, plan
from instructseg.convert.official import model_shapes
from instructseg.convert.official_config import config_from_official, unused_shapes
from instructseg.model import InstructSegConfig, preset


def shapes_of(full_size: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in full_size["keys"].items()}


def test_the_published_checkpoint_is_covered_both_ways(full_size: dict[str, Any]) -> None:
    theirs = shapes_of(full_size)
    assert len(theirs) == 1640
    assert sum(map(prod, theirs.values())) == full_size["total"] == 3_468_301_432
    official = {**full_size["text"], "vision_config": {"vision_tower": full_size["vision"]}}
    config = config_from_official(official, theirs)
    ours = model_shapes(config)
    found = plan(theirs, ours)
    assert len(found.targets) + len(found.dropped) == 1640
    assert {ours for names in found.targets.values() for ours in names} == set(ours)
    back = official_shapes(ours)
    assert {**back, **unused_shapes(config, back)} == theirs


def test_the_full_size_configuration_is_the_preset(full_size: dict[str, Any]) -> None:
    official = {**full_size["text"], "vision_config": {"vision_tower": full_size["vision"]}}
    found = config_from_official(official, shapes_of(full_size)).to_dict()
    wanted = preset("instructseg-3b").to_dict()
    differing = {name for name in wanted if found[name] != wanted[name]} - {"text_config", "backbone_config"}
    assert not differing
    text = {name for name, value in wanted["text_config"].items() if found["text_config"][name] != value}
    assert text <= {"vocab_size", "pad_token_id", "resid_pdrop"}
    for name in ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "drop_path_rate"):
        assert found["backbone_config"][name] == wanted["backbone_config"][name]


def test_every_tensor_of_a_released_model_has_an_official_name() -> None:
    for name in model_shapes(InstructSegConfig()):
        found = official_name(name)
        assert found is not None
        theirs, part, parts = found
        known = our_names(theirs)
        assert known is not None and known[1][part] == name and len(known[1]) == parts


def test_split_and_join_are_inverse() -> None:
    theirs = "predictor.transformer_self_attention_layers.2.self_attn.in_proj_weight"
    tensor = torch.randn(12, 4)
    known = our_names(theirs)
    assert known is not None and len(known[1]) == 3
    target = dict.fromkeys(known[1], (4, 4))
    parts = dict(plan({theirs: (12, 4)}, target).split(theirs, tensor))
    joiner = Joiner()
    results = [joiner.add(name, parts[name]) for name in reversed(parts)]
    assert results[:2] == [None, None]
    assert results[2] is not None and results[2][0] == theirs and torch.equal(results[2][1], tensor)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"seg_query": (4, 8), "surprise": (2,)}, "surprise [2]: not a name of the official model"),
        ({"seg_query": (5, 8)}, "mask_queries is [4, 8], not [5, 8]"),
        ({}, "nothing in the checkpoint fills it (seg_query is missing)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(source: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(ValueError) as error:
        plan(source, {"mask_queries": (4, 8)})
    assert message in str(error.value)


def test_many_problems_are_counted() -> None:
    with pytest.raises(ValueError, match=r"\(9 problems\).*and 4 more"):
        plan({f"x{i}": (1,) for i in range(9)}, {})
