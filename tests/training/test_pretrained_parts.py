"""Training starts from parts in the layout of transformers, generated small."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    SiglipConfig,
    SiglipModel,
)

from instructseg.config import ModelSource, StartConfig, load_config
from instructseg.model import PRESETS, InstructSeg, preset
from instructseg.training import build_model, train
from recipes.nano.layouts.copies import write_copies
from tests.processing.test_chat_formats import MARKS

LORA = {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj", "v_proj"]}
REST = {
    "image_size": 64, "ovp_queries": 3, "ovp_depth": 1, "ovp_heads": 2, "ovp_head_dim": 8,
    "vmtf_dim": 24, "vmtf_depth": 1, "vmtf_heads": 2, "vmtf_head_dim": 8, "conv_dim": 32, "mask_dim": 32,
    "pixel_decoder_layers": 1, "pixel_decoder_ff": 32, "num_queries": 4, "decoder_dim": 32, "decoder_heads": 2,
    "decoder_layers": 2, "decoder_ff": 32,
}  # fmt: skip
TOWER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
LANGUAGES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True, "max_position_embeddings": 2048,
    }),
    "bert": (BertConfig, BertForMaskedLM, {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 2048,
    }),
}  # fmt: skip
BACKBONES: dict[str, dict[str, Any]] = {
    "dinov3_convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "hiera": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
    "swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2},
}
SIZES: dict[str, Any] = {"hiera": {"image_size": [64, 64]}, "swin": {"image_size": 64}}
OWN_SIZES: dict[str, Any] = {"hiera": {"image_size": [32, 32]}, "swin": {"image_size": 32}}
KINDS = [("qwen3", "dinov3_convnext"), ("qwen3", "hiera"), ("qwen3", "swin"), ("bert", "efficientnet_lite")]


def tokenizer(folder: Path) -> int:
    """Writes a tokenizer of bytes and the marks of chats, without ``[SEG]``; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    made = PreTrainedTokenizerFast(tokenizer_object=bare)
    made.add_tokens(MARKS[:-1], special_tokens=True)
    made.save_pretrained(folder)
    return len(made)


def efficientnet(folder: Path) -> None:
    """Random weights by the names of the public files."""
    from instructseg.model.backbones import EfficientNetLiteConfig, EfficientNetLiteTrunk
    from instructseg.model.backbones.efficientnet_lite import _CONVOLUTIONS, _block_places

    config = EfficientNetLiteConfig()
    trunk = EfficientNetLiteTrunk(config)
    theirs = {ours: name for name, ours in _CONVOLUTIONS.items()}
    places = _block_places(config)
    state = {}
    for name, tensor in trunk.state_dict().items():
        if name.startswith("stem."):
            _, number, rest = name.split(".")
            state[f"{'_conv_stem' if number == '0' else '_bn0'}.{rest}"] = tensor
        else:
            place, part, rest = (
                ".".join(name.split(".")[:3]),
                ".".join(name.split(".")[3:5]),
                name.split(".")[5],
            )
            state[f"_blocks.{places.index(place)}.{theirs[part]}.{rest}"] = tensor
    state["_fc.weight"] = torch.zeros(3, 3)
    folder.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")


def write_parts(folder: Path, language: str, backbone: str) -> tuple[dict[str, Any], StartConfig]:
    """Writes parts of both kinds; returns the overrides of a preset of their sizes, and their folders."""
    torch.manual_seed(1)
    config, model, sizes = LANGUAGES[language]
    rows = tokenizer(folder / "language")
    model(config(vocab_size=rows, **sizes)).save_pretrained(folder / "language")
    fields = {**REST, "text_config": {"model_type": language, "vocab_size": rows, **sizes}}
    if backbone == "efficientnet_lite":
        efficientnet(folder / "backbone")
        fields |= {
            "backbone_config": {"model_type": backbone},
            "vision_tower": "shared",
            "shared_clip_size": 64,
        }
        return fields, StartConfig(language=str(folder / "language"), backbone=str(folder / "backbone"))
    text = {**TOWER, "vocab_size": 9, "projection_size": 32}
    text = {name: value for name, value in text.items() if name not in ("image_size", "patch_size")}
    SiglipModel(SiglipConfig(text_config=text, vision_config=TOWER)).save_pretrained(folder / "vision")
    made = AutoConfig.for_model(backbone, **BACKBONES[backbone], **OWN_SIZES.get(backbone, {}))
    classifier = AutoModel if backbone == "dinov3_convnext" else AutoModelForImageClassification
    classifier.from_config(made).save_pretrained(folder / "backbone")
    kind = {"model_type": backbone, **BACKBONES[backbone], **SIZES.get(backbone, {})}
    fields |= {"vision_config": TOWER, "backbone_config": kind}
    return fields, StartConfig(
        None, None, None, *(str(folder / name) for name in ("language", "vision", "backbone"))
    )


@pytest.mark.parametrize(("language", "backbone"), KINDS)
def test_parts_are_joined_and_train(language: str, backbone: str, tmp_path: Path) -> None:
    fields, start = write_parts(tmp_path, language, backbone)
    source = ModelSource("preset:instructseg-3b", fields, start)
    model, processor = build_model(source, 0, tmp_path / "run")
    state, table = model.state_dict(), model.language.word_table().weight
    assert len(table) == len(processor.tokenizer) > fields["text_config"]["vocab_size"]  # [SEG] has a row
    torch.testing.assert_close(table[-1], table[:-1].mean(0), atol=1e-5, rtol=1e-4)
    words = load_file(tmp_path / "language" / "model.safetensors")
    prefix = "bert.encoder.layer.1." if language == "bert" else "model.layers.1."
    taken = {name.removeprefix("bert."): tensor for name, tensor in words.items() if name.startswith(prefix)}
    for name, tensor in taken.items():
        ours = f"language.model.{name.removeprefix('model.')}"
        assert torch.equal(state[ours], tensor), name
    assert taken
    if start.vision is not None:
        tower = load_file(tmp_path / "vision" / "model.safetensors")
        patches = "vision_model.embeddings.patch_embedding.weight"
        assert torch.equal(state["vision.model.embeddings.patch_embedding.weight"], tower[patches])
        assert not any("layers.2" in name for name in state if name.startswith("vision."))
    file = tmp_path / "run.yaml"
    write_copies(tmp_path / "copies", ["reasonseg"])
    file.write_text(
        json.dumps(
            {
                "model": {"name": source.name, "overrides": fields, "start": vars(start)},
                "output_dir": str(tmp_path / "run"),
                "data": {
                    "batch_size": 1,
                    "switch_bs": 1,
                    "text_tasks": [],
                    "mixture": [
                        {"name": "reasonseg", "root": f"{tmp_path}/copies/ReasonSeg", "split": "train"}
                    ],
                },
                "criterion": {"num_points": 64},
                "train": {"max_steps": 2, "ema_decay": 0.0},
            }
        )
    )
    exported = train(file, resume=True)
    assert (exported / "model.safetensors").is_file()


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    fields, start = write_parts(tmp_path, "qwen3", "dinov3_convnext")
    name = "preset:instructseg-3b"

    def joined(**changes: Any) -> None:
        build_model(ModelSource(name, {**fields, **changes}, start), 0, tmp_path / "run")

    text = fields["text_config"]
    with pytest.raises(ValueError, match=r"start.language: .* has hidden_size 32, the preset needs 64"):
        joined(text_config={**text, "hidden_size": 64})
    with pytest.raises(ValueError, match=r"start.language: .* is of type 'qwen3', the preset needs 'phi'"):
        joined(text_config={})
    with pytest.raises(ValueError, match=r"start.vision: .* takes 28 pixels, the preset 42"):
        joined(vision_config={**TOWER, "image_size": 42})
    with pytest.raises(ValueError, match=r"start.vision: a 'shared' tower takes no SigLIP"):
        joined(vision_tower="shared")
    with pytest.raises(ValueError, match=r"start.backbone: .* is of type 'dinov3_convnext'"):
        joined(backbone_config={"model_type": "hiera"})
    weights = tmp_path / "vision" / "model.safetensors"
    tensors = load_file(weights)
    tensors["surplus"] = tensors.pop("vision_model.encoder.layers.0.mlp.fc1.bias")
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(
        ValueError, match=r"start.vision: .* lacks \['encoder.layers.0.*fc1.bias'\] and has \['surplus'"
    ):
        joined()
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"start.vision: .* cannot be read") as caught:
        joined()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "start").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mipha": "a"}, "needs both mipha and mask2former"),
        ({"vision": "a"}, "language needs a value"),
        ({}, "language needs a value"),
        ({"mipha": "a", "mask2former": "b", "language": "c"}, "not both"),
    ],
)
def test_a_start_is_of_one_kind(given: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        StartConfig(**given)


@pytest.mark.parametrize("size", ["0.6b", "1.7b", "4b"])
def test_recipes_of_qwen3_build_their_model(size: str) -> None:
    config = load_config(Path(__file__).parents[2] / "configs" / "qwen3" / f"{size}.yaml")
    assert config.model.preset == f"qwen3-{size}" and config.model.preset in PRESETS
    assert config.model.start is not None and config.model.start.language == f"Qwen/Qwen3-{size.upper()}"
    with torch.device("meta"):
        model = InstructSeg(preset(config.model.preset, **config.model.overrides))
    from instructseg.engine.optim import select_trainable

    select_trainable(model, config.train.optim)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"language", "projector", "mask_queries", "ovp", "vmtf", "pixel_decoder", "mask_decoder"}
    adapters = [n for n, p in model.named_parameters() if n.startswith("language.") and p.requires_grad]
    assert all(".lora_" in name or "embed_tokens" in name for name in adapters)
