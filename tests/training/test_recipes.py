"""The released recipe and its relatives, without their files: what learns, what memory it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from instructseg.config import DatasetConfig, RunConfig, load_config
from instructseg.data.catalog import find
from instructseg.engine.optim import build_optimizer, lr_factor, select_trainable
from instructseg.engine.summary import ParameterCount, count_memory, count_parts, prepare_memory
from instructseg.model import InstructSeg, preset
from instructseg.training.mixture_samples import open_dataset
from recipes.nano.layouts.copies import write_copies

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = ("instructseg_3b", "instructseg_3b_paper", "instructseg_3b_lora_24gb")
HEADS = {"ovp": 110_479_360, "vmtf": 32_005_376, "pixel_decoder": 5_544_896, "mask_decoder": 15_220_224}
MASKS = {"language (LoRA)": 2_621_440, "mask_queries": 256_000, **HEADS}
EXPECTED = {
    "instructseg_3b": {**MASKS, "language (embed_tokens)": 128_757_760, "language (lm_head)": 131_072_000},
    "instructseg_3b_paper": {**MASKS, "projector": 9_507_840},
    "instructseg_3b_lora_24gb": MASKS,
}


def recipe(name: str) -> tuple[RunConfig, InstructSeg]:
    config = load_config(CONFIGS / f"{name}.yaml")
    with torch.device("meta"):  # the published model has the sizes of the preset
        model = InstructSeg(preset("instructseg-3b", **config.model.overrides))
    select_trainable(model, config.train.optim)
    return config, model


@pytest.mark.parametrize("name", NAMES)
def test_trainable_parts(name: str) -> None:
    config, model = recipe(name)
    parts = count_parts(model)
    assert {part: counted.trainable for part, counted in parts.items() if counted.trainable} == EXPECTED[name]
    assert sum(part.trainable + part.frozen for part in parts.values()) == 3_437_579_352
    assert parts["vision"] == ParameterCount(0, 397_745_440) and parts["backbone"] == ParameterCount(
        0, 86_880_376
    )
    assert parts["language"] == ParameterCount(0, 2_517_488_640)
    adapters = [name for name, p in model.named_parameters() if "lora_" in name and p.requires_grad]
    assert len(adapters) == 32 * 2 * 2 and all(".q_proj." in name or ".v_proj." in name for name in adapters)
    groups = build_optimizer(model, config.train.optim).param_groups
    assert sum(p.numel() for group in groups for p in group["params"]) == sum(EXPECTED[name].values())


def test_released_numbers() -> None:
    config = load_config(CONFIGS / "instructseg_3b.yaml")
    train, optim, criterion = config.train, config.train.optim, config.criterion
    assert (optim.lr, optim.weight_decay, train.max_steps, train.precision) == (4e-5, 0.0, 100_000, "bfloat16")
    assert (criterion.class_weight, criterion.mask_weight, criterion.dice_weight) == (2.0, 5.0, 5.0)
    assert criterion.num_points == 12544 and config.data.text_tasks is None
    assert [part.ratio for part in config.data.mixture] == [4, 2, 4, 1, 3]
    assert (config.data.batch_size, config.data.switch_bs) == (4, 16)
    assert lr_factor(optim, 2999, 100_000) == 1.0 > lr_factor(optim, 2998, 100_000)
    assert lr_factor(optim, 100_000, 100_000) == 0.0


def test_numbers_of_the_paper() -> None:
    config = load_config(CONFIGS / "instructseg_3b_paper.yaml")
    assert config.train.max_steps == 80_000 and config.train.optim.warmup_steps == 1680
    assert config.criterion == type(config.criterion).paper()
    assert config.data.text_tasks == ("res", "reason_seg", "rvos", "reason_vos", "vqa")
    assert config.train.optim.lr == 4e-5


@pytest.mark.parametrize("name", NAMES)
def test_data_sets_and_splits_exist(name: str) -> None:
    data = load_config(CONFIGS / f"{name}.yaml").data
    for part in (*data.mixture, *data.val):
        splits = find(part.name).splits
        assert not splits or {part.split, *part.also} <= set(splits), part.name


def test_counted_memory_fits_the_card() -> None:
    config, model = recipe("instructseg_3b_lora_24gb")
    prepare_memory(model, torch.bfloat16, config.train.gradient_checkpointing, "")
    memory = count_memory(model, ema=False)
    learning = sum(EXPECTED["instructseg_3b_lora_24gb"].values())
    assert memory.gradients == 4 * learning and memory.optimizer == 8 * learning and memory.averages == 0
    assert memory.weights == pytest.approx(
        2 * (3_437_579_352 - learning) + 4 * learning, rel=1e-3
    )  # and buffers
    assert memory.total < 10 * 2**30
    assert model.language.model.layers[0].gradient_checkpointing


def test_splits_are_joined_and_so_are_sentences(tmp_path: Path) -> None:
    write_copies(tmp_path / "copies", ["refcoco"])
    root = str(tmp_path / "copies" / "refer_seg")
    names = ("refcoco/unc/train", "refcoco+/unc/train", "refcocog/umd/train")
    parts = [open_dataset(DatasetConfig("refcoco", root, name, sentences="joined")) for name in names]
    whole = open_dataset(DatasetConfig("refcoco", root, names[0], also=names[1:], sentences="joined"))
    each = open_dataset(DatasetConfig("refcoco", root, names[0]))
    assert len(whole) == sum(len(part) for part in parts)
    assert len(each) >= len(parts[0])
    last = whole[len(whole) - 1]
    assert last.instruction == parts[2][len(parts[2]) - 1].instruction
    assert whole[len(parts[0])].instruction == parts[1][0].instruction
    with pytest.raises(IndexError):
        whole[len(whole)]
    with pytest.raises(ValueError, match=r"options\.sentences: mevis has no such option"):
        open_dataset(DatasetConfig("mevis", root, "train", sentences="joined"))
