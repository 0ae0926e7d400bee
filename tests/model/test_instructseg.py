"""The whole model: batching, task mixes, verbs, adapters, saving, generation."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from instructseg.model import InstructSeg, preset
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role
from tests.model.conftest import batch, sequence, tiny_config, tiny_model

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


def row(inputs: ModelInputs, b: int) -> ModelInputs:
    """Row ``b`` alone, without its padding and without references that are not real."""
    real = inputs.roles[b] != Role.PAD
    frames = 1 + int(inputs.num_references[b])
    assert inputs.seg_pixels is not None
    return ModelInputs(
        inputs.input_ids[b : b + 1, real],
        inputs.roles[b : b + 1, real],
        inputs.clip_pixels[b : b + 1, :frames],
        inputs.num_references[b : b + 1],
        inputs.seg_pixels[b : b + 1],
    )


@torch.no_grad()
def test_a_mixed_batch_equals_its_rows(model: InstructSeg) -> None:
    inputs = batch(model.config, [(0, 4), (3, 7), (1, 2)])
    together = model(inputs, aux=True)
    assert together.mask_logits.shape == (3, 4, 16, 24)
    assert together.seg_logits.shape == (3, 4)
    assert len(together.aux) == model.config.decoder_layers
    for b in range(3):
        alone = model(row(inputs, b), aux=True)
        torch.testing.assert_close(together.mask_logits[b], alone.mask_logits[0], **CLOSE)
        torch.testing.assert_close(together.seg_logits[b], alone.seg_logits[0], **CLOSE)
        for mine, theirs in zip(together.aux, alone.aux, strict=True):
            torch.testing.assert_close(mine[0][b], theirs[0][0], **CLOSE)


@torch.no_grad()
def test_rows_may_share_an_image(model: InstructSeg) -> None:
    inputs = batch(model.config, [(2, 4), (2, 4), (2, 4)])
    picture = torch.tensor([1, 0, 1])
    shared = replace(inputs, clip_pixels=inputs.clip_pixels[:2], seg_pixels=inputs.seg_pixels[:2],
                     num_references=inputs.num_references[:2], image_index=picture)  # fmt: skip
    copied = replace(inputs, clip_pixels=inputs.clip_pixels[picture], seg_pixels=inputs.seg_pixels[picture])
    torch.testing.assert_close(model(shared).mask_logits, model(copied).mask_logits, **CLOSE)


@torch.no_grad()
def test_an_image_is_its_own_reference(model: InstructSeg) -> None:
    image = batch(model.config, [(0, 4)])
    clip = replace(
        image, clip_pixels=image.clip_pixels.expand(-1, 2, -1, -1, -1), num_references=torch.tensor([1])
    )
    torch.testing.assert_close(model(image).mask_logits, model(clip).mask_logits, **CLOSE)


@torch.no_grad()
def test_the_verbs_compose_to_the_forward(model: InstructSeg) -> None:
    """Results kept between frames and prompts give what the forward gives."""
    inputs = batch(model.config, [(2, 5)])
    frames = model.encode_frame(inputs.clip_pixels[0], None)
    features = model.encode_frame(seg_pixels=inputs.seg_pixels)
    text, mask = model.embed_text(inputs.input_ids, inputs.roles)
    temporal = torch.cat([model.perceive(frames.tokens[i : i + 1], text, mask) for i in (1, 2)])
    states = model.reason(
        model.embed(inputs.input_ids, inputs.roles, frames.tokens[:1], temporal), inputs.roles
    )
    output = model.decode(features, states)
    expected = model(inputs)
    torch.testing.assert_close(output.mask_logits, expected.mask_logits, **CLOSE)
    torch.testing.assert_close(output.seg_logits, expected.seg_logits, **CLOSE)


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_text_logits_stand_where_labels_are_learned(model: InstructSeg, rate: float) -> None:
    """Rows with and without masks, with and without text loss, in one batch; every part gets a gradient."""
    inputs = batch(model.config, [(1, 3), (0, 3)])
    plain = sequence(model.config, 0, 0, masks=False)
    roles = torch.zeros_like(inputs.roles[:1])
    roles[0, : len(plain)] = torch.tensor(plain)
    ids = torch.ones_like(roles) * (roles == Role.TEXT)
    labels = torch.full((3, roles.shape[1]), IGNORE_LABEL)
    labels[2, len(plain) - 2 : len(plain)] = torch.tensor([5, 6])
    mixed = replace(
        inputs,
        input_ids=torch.cat((inputs.input_ids, ids)),
        roles=torch.cat((inputs.roles, roles)),
        clip_pixels=torch.cat((inputs.clip_pixels, inputs.clip_pixels[:1])),
        seg_pixels=torch.cat((inputs.seg_pixels, inputs.seg_pixels[:1])),
        num_references=torch.tensor([1, 0, 0]),
        labels=labels,
    )
    output = model(replace(mixed, keep_tokens=rate))
    assert output.mask_rows.tolist() == [0, 1]
    assert output.mask_logits.shape[0] == 2
    assert output.text_logits.shape == (2, model.config.lm_head_size)
    alone = model(replace(inputs, keep_tokens=rate))
    torch.testing.assert_close(output.mask_logits, alone.mask_logits, **CLOSE)
    assert torch.equal(alone.seg_logits, model(inputs).seg_logits) == (rate == 1)
    (output.mask_logits.sum() + output.seg_logits.sum() + output.text_logits.sum()).backward()
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert missing == []


def test_switched_off_parts_are_not_built() -> None:
    model = tiny_model(use_ovp=False, vmtf_mode="off")
    assert not [name for name, _ in model.named_parameters() if name.startswith("ovp") or "perceiver" in name]
    inputs = batch(model.config, [(0, 4)])
    kept = inputs.roles[0] != Role.TEMPORAL
    inputs = replace(inputs, input_ids=inputs.input_ids[:, kept], roles=inputs.roles[:, kept])
    assert model(inputs).mask_logits.shape == (1, 4, 16, 24)
    with pytest.raises(ValueError, match="no perceiver"):
        model.perceive(torch.zeros(1, 4, 32), torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.bool))


@torch.no_grad()
def test_merged_adapters_equal_unmerged_ones() -> None:
    model = tiny_model(lora={"r": 2, "alpha": 4, "dropout": 0.05, "targets": ["q_proj", "v_proj"]})
    names = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert len(names) == 2 * 2 * model.config.text_config.num_hidden_layers
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_()
    inputs = batch(model.config, [(1, 4)])
    before = model(inputs).mask_logits
    keys = set(tiny_model().state_dict())
    assert set(model.merge_lora().state_dict()) == keys
    torch.testing.assert_close(model(inputs).mask_logits, before, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("lora", [None, {"r": 2, "alpha": 4, "dropout": 0.0, "targets": ["q_proj"]}])
def test_saved_and_loaded_is_the_same(tmp_path: Path, lora: dict | None) -> None:
    model = tiny_model(lora=lora)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = InstructSeg.from_pretrained(tmp_path).eval()
    for key in ("vmtf_mode", "lora", "ovp_queries", "lm_head_size", "vmtf_levels"):
        assert getattr(again.config, key) == getattr(model.config, key)
    for (name, a), (other, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b), name
    half = InstructSeg.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.language.lm_head.weight.dtype == torch.bfloat16
    assert {p.dtype for p in half.pixel_decoder.parameters()} == {torch.float32}
    inputs = batch(model.config, [(1, 4)])
    assert model(inputs).mask_logits.shape == half(inputs.to(dtype=torch.bfloat16)).mask_logits.shape


def test_generation_equals_a_loop_without_cache(model: InstructSeg) -> None:
    inputs = batch(model.config, [(0, 3)])
    prompt = replace(inputs, input_ids=inputs.input_ids[:, :-6], roles=inputs.roles[:, :-6])
    ids = model.answer(prompt, max_new_tokens=5)[0]
    with torch.no_grad():
        embeds = model._embed_inputs(prompt, torch.tensor([0]))
        expected: list[int] = []
        while len(expected) < 5:
            hidden = model.language.hidden_states(embeds, torch.ones(embeds.shape[:2], dtype=torch.bool))
            token = int(model.language.lm_head(hidden[0, -1])[: model.config.text_config.vocab_size].argmax())
            if token == model.config.text_config.eos_token_id:
                break
            expected.append(token)
            embeds = torch.cat((embeds, model.language.model.embed_tokens(torch.tensor([[token]]))), dim=1)
    assert ids == expected


def test_errors_name_both_numbers(model: InstructSeg) -> None:
    inputs = batch(model.config, [(2, 4)])
    with pytest.raises(ValueError, match="6 temporal positions but 3 vectors"):
        model(replace(inputs, num_references=torch.tensor([1])))
    with pytest.raises(ValueError, match="multiples of 32"):
        model(replace(inputs, seg_pixels=inputs.seg_pixels[..., :50]))
    with pytest.raises(ValueError, match="takes 28x28"):
        model(replace(inputs, clip_pixels=inputs.clip_pixels[..., :14, :14]))
    with pytest.raises(ValueError, match="seg_pixels is None"):
        model(replace(inputs, seg_pixels=None))


def test_presets_and_their_errors() -> None:
    with pytest.raises(ValueError, match="did you mean 'nano'"):
        preset("nanno")
    with pytest.raises(ValueError, match="did you mean 'vmtf_mode'"):
        preset("nano", vmtf_mod="off")
    with pytest.raises(ValueError, match="outside a tower of 3 layers"):
        tiny_model(vision_feature_layer=-9)
    with pytest.raises(ValueError, match="unknown level 'res9'"):
        tiny_config(vmtf_levels=["res9"])
    with torch.device("meta"):
        nano = InstructSeg(preset("nano"))
    assert sum(p.numel() for p in nano.parameters()) < 8e6  # 16 MB in half precision


def test_a_table_of_positions_starts_as_waves():
    table = InstructSeg(preset("nano")).backbone.swin.swin.embeddings.position_embeddings[0].detach()
    side = round(len(table) ** 0.5)
    row, column = 5, 9
    across, down = column / side * math.pi, row / side * math.pi
    waves = len(table[0]) // 4
    found = table[row * side + column][::waves]
    expected = [0.5 * wave(angle) for angle in (across, down) for wave in (math.sin, math.cos)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
