"""Checkpoints in the layout of Chameleon and Lumina-mGPT: random models of the same classes and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ChameleonConfig, ChameleonForConditionalGeneration
from transformers.models.janus.configuration_janus import JanusVQVAEConfig
from transformers.models.janus.modeling_janus import JanusVQVAEDecoder

from instructseg.loading import load
from instructseg.systems.explanatory.chameleon_layout import chameleon_config, open_chameleon
from instructseg.systems.explanatory.explanatory_predictor import ExplanatoryPredictor
from instructseg.systems.explanatory.image_chameleon import ImageChameleon
from instructseg.systems.sequence.sampling import SamplingOptions, sample_answers
from recipes.systems.instructseq_start import word_reader

CODES, WORDS = 24, ("paint", "the", "stream", "blue")
SPECIAL = ("<racm3:break>", "<eoss>", "<image>", "<reserved08706>", "<reserved08799>", "<reserved08814>")
VQ: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 2], "num_res_blocks": 1, "resolution": 32}
VQ |= {"num_embeddings": CODES, "latent_channels": 8, "embed_dim": 6}


def image_token(code: int) -> str:
    """Name of the token of a code, as in Chameleon's tokenizer."""
    return "IMGIMG" + "".join("ABCDEFGHIJ"[int(digit)] for digit in str(code)) + "Z"


def vocabulary_map() -> dict[str, int]:
    """Four special tokens, codes in an order of their own, names, words."""
    order = np.random.default_rng(0).permutation(CODES)
    names = ["<pad>", "<s>", "</s>", "<unk>", *(image_token(int(code)) for code in order), *SPECIAL, *WORDS]
    return {name: place for place, name in enumerate(names)}


def vqgan(model: ChameleonForConditionalGeneration) -> tuple[dict[str, torch.Tensor], JanusVQVAEDecoder]:
    """Meta's file for a model, with a random decoder; and that decoder by other code (of Janus)."""
    kept = {
        key: VQ[key] for key in ("base_channels", "channel_multiplier", "num_res_blocks", "latent_channels")
    }
    decoder = JanusVQVAEDecoder(JanusVQVAEConfig(**kept)).eval()
    levels, renamed = len(VQ["channel_multiplier"]), {}
    for level in decoder.up:
        for attention in level.attn:  # Janus has more attention than Chameleon: let it add nothing
            torch.nn.init.zeros_(attention.proj_out.weight)
            torch.nn.init.zeros_(attention.proj_out.bias)
    for name, tensor in decoder.state_dict().items():
        parts = name.split(".")
        if parts[0] == "up":
            parts[1] = str(levels - 1 - int(parts[1]))  # Janus counts from the coarsest
        if not (parts[0] == "up" and parts[2] == "attn"):
            renamed["decoder." + ".".join(parts)] = tensor
    return {**model.model.vqmodel.state_dict(), **renamed}, decoder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """A folder in Lumina's layout in two shards, the model that wrote it, and the decoder of its codec."""
    torch.manual_seed(0)
    names = vocabulary_map()
    config = ChameleonConfig(
        vocab_size=len(names), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, vq_config=VQ, vocabulary_map=names,
        max_position_embeddings=1024, pad_token_id=None,
    )  # fmt: skip
    model = ChameleonForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.2)
    folder = tmp_path_factory.mktemp("lumina")
    model.save_pretrained(folder, max_shard_size="300KB")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "z_loss_weight": 1e-5}))
    state, decoder = vqgan(model)
    torch.save({"state_dict": state}, folder / "vqgan.ckpt")
    words = word_reader([])
    words.tokenizer.add_tokens(list(names)[4:])
    words.save_pretrained(folder)
    return folder, model, decoder


def test_the_layout_is_in_shards_with_the_names_of_the_release(stored: tuple[Path, Any, Any]) -> None:
    folder, _, _ = stored
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    layer = "model.layers.1.self_attn."
    wanted = {f"{layer}{part}" for part in ("q_proj.weight", "q_norm.weight", "q_norm.bias", "k_norm.bias")}
    assert {*wanted, "lm_head.weight", "model.norm.weight", "model.vqmodel.quantize.embedding.weight"} <= set(
        index
    )


def test_logits_are_those_of_transformers_and_image_tokens_are_not_masked(
    stored: tuple[Path, Any, Any],
) -> None:
    folder, model, _ = stored
    loaded = open_chameleon(folder)
    assert isinstance(loaded.decoder.language, ImageChameleon)
    ids = torch.tensor([[1, 34, 35, 36, 5, 9]])
    with torch.no_grad():
        theirs, ours = model(input_ids=ids).logits, loaded.decoder.language(input_ids=ids)
    inside = slice(4, 4 + CODES)
    assert (theirs[..., inside] == torch.finfo(theirs.dtype).min).all()
    other = torch.ones(theirs.shape[-1], dtype=torch.bool)
    other[inside] = False
    torch.testing.assert_close(ours.logits[..., other], theirs[..., other])
    states = model.model(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours.logits, model.lm_head(states), atol=1e-5, rtol=1e-5)
    one = loaded.decoder.language(input_ids=ids, logits_to_keep=1).logits
    torch.testing.assert_close(one, ours.logits[:, -1:])


def test_the_subclass_generates_image_tokens(stored: tuple[Path, Any, Any]) -> None:
    folder, _, _ = stored
    language = open_chameleon(folder).decoder.language
    bias = torch.zeros(language.config.vocab_size)
    bias[4 : 4 + CODES] = 1e3
    only = [lambda _, scores: scores + bias]
    made = language.generate(
        torch.tensor([[1, 34, 35]]), max_new_tokens=5, do_sample=False, logits_processor=only
    )
    assert ((made[0, 3:] >= 4) & (made[0, 3:] < 4 + CODES)).all() and made.shape == (1, 8)


def test_its_loss_is_cross_entropy_with_a_z_loss(stored: tuple[Path, Any, Any]) -> None:
    language = open_chameleon(stored[0]).decoder.language
    ids = torch.tensor([[1, 34, 5, 9, 7]])
    labels = torch.tensor([[-100, -100, 5, 9, 7]])
    with torch.no_grad():
        found = language(input_ids=ids, labels=labels)
    values = []
    for place in (1, 2, 3):
        row = found.logits[0, place].double()
        total = torch.log(torch.exp(row).sum())
        values.append(total - row[ids[0, place + 1]] + 1e-5 * total**2)
    assert float(found.loss) == pytest.approx(float(torch.stack(values).mean()), rel=1e-5)


def test_codes_and_images_are_those_of_other_code(stored: tuple[Path, Any, Any]) -> None:
    folder, model, decoder = stored
    visual = open_chameleon(folder).visual
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    vq = model.model.vqmodel
    with torch.no_grad():
        theirs = vq.encode(images)
        latents = visual.latents(images)
        assert torch.equal(visual.encode(images).flatten(), theirs.image_tokens.flatten())
        torch.testing.assert_close(latents, vq.quant_conv(vq.encoder(images)), atol=1e-4, rtol=1e-4)
        codes = torch.randint(CODES, (2, 16, 16))
        chosen = vq.quantize.embedding(codes).permute(0, 3, 1, 2)
        drawn = decoder(vq.post_quant_conv(chosen))
        torch.testing.assert_close(visual.decode(codes), drawn, atol=1e-3, rtol=1e-3)


def test_an_image_stands_in_the_sequence_as_lumina_writes_it(stored: tuple[Path, Any, Any]) -> None:
    folder, model, _ = stored
    loaded, names = open_chameleon(folder), vocabulary_map()
    side = loaded.visual.side
    assert (side, loaded.config.image_size) == (224, 448)  # this codec halves once
    codes = torch.randint(CODES, (1, side, side))
    tokens = loaded.tokens(codes)[0].tolist()
    assert tokens[:3] == [names["<racm3:break>"], names["<reserved08814>"], names["<reserved08814>"]]
    assert tokens[-1] == names["<eoss>"] and len(tokens) == 3 + side * (side + 1) + 1
    theirs = model.model.vocabulary_mapping.convert_img2bpe(codes[0]).tolist()
    for row in range(side):
        start = 3 + row * (side + 1)
        assert tokens[start : start + side] == theirs[row]
        assert tokens[start + side] == names["<reserved08799>"]
    assert torch.equal(loaded.codes(torch.tensor([tokens])), codes)


def test_answers_are_sampled_with_a_causal_prefix(stored: tuple[Path, Any, Any]) -> None:
    folder, model, _ = stored
    config = chameleon_config(folder)
    config.image_size, config.image_start, config.row_ends = 8, config.image_start[:1], [config.row_ends[0]] * 4
    whole = open_chameleon(folder)
    loaded = type(whole)(config, whole.decoder.language).eval()
    loaded.visual.load_state_dict(whole.visual.state_dict())
    ids = torch.tensor([[0, 34, 35], [34, 35, 36]])
    mask = torch.tensor([[False, True, True], [True, True, True]])
    codes = torch.randint(CODES, (2, 4, 4))
    with torch.no_grad():
        logits, answer = loaded(codes, ids, mask, codes)
        turn = torch.tensor([[vocabulary_map()["<reserved08706>"]]])
        for row, first in ((0, 1), (1, 0)):
            every = torch.cat([ids[row : row + 1, first:], loaded.tokens(codes)[row : row + 1], turn], dim=1)
            every = torch.cat([every, answer[row : row + 1, :-1]], dim=1)
            states = model.model(input_ids=every).last_hidden_state
            theirs = model.lm_head(states)[:, -answer.shape[1] :]
            torch.testing.assert_close(logits[row : row + 1], theirs, atol=1e-3, rtol=1e-3)
        options = SamplingOptions(samples=2, guidance=2.0, top_k={"image": 3})
        free = loaded.read(codes, ids, torch.zeros_like(mask))
        drawn = sample_answers(loaded.decoder, loaded.read(codes, ids, mask), loaded.forms, options, free)
    assert drawn.tokens.shape == (2, 2, 1 + 4 * 5 + 1)
    again = loaded.codes(drawn.tokens.flatten(0, 1))
    assert torch.equal(loaded.tokens(again), drawn.tokens.flatten(0, 1))


def test_a_folder_opens_as_a_predictor_and_faults_are_named(
    stored: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    folder, _, _ = stored
    predictor = load(folder, device="cpu")
    assert isinstance(predictor, ExplanatoryPredictor)
    assert predictor.options().guidance == 3.0 and predictor.options().top_k == {"image": 2048}
    for file in folder.iterdir():
        if file.name != "vqgan.ckpt":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(FileNotFoundError, match=r"no vqgan.ckpt, which draws images"):
        load(tmp_path)
    state = torch.load(folder / "vqgan.ckpt", weights_only=True)["state_dict"]
    state.pop("decoder.conv_out.bias")
    torch.save(state, tmp_path / "vqgan.ckpt")
    with pytest.raises(ValueError, match=r"vqgan.ckpt does not fit config.json"):
        load(tmp_path)
    values = json.loads((folder / "config.json").read_text())
    named = values["vocabulary_map"]
    for wrong, message in (
        ({"vocabulary_map": {k: v for k, v in named.items() if k != "<eoss>"}}, "lacks <eoss>"),
        ({"vocabulary_map": {k: v for k, v in named.items() if k != image_token(3)}}, "24 tokens of images"),
        ({"vq_config": {**VQ, "attn_resolutions": [16]}}, "attn_resolutions is not supported"),
        ({"vocabulary_map": 3}, "no Chameleon has these values"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**values, **wrong}))
        with pytest.raises(ValueError, match=message):
            chameleon_config(tmp_path)


def test_chameleon_without_rows_is_that_of_meta(stored: tuple[Path, Any, Any], tmp_path: Path) -> None:
    values = json.loads((stored[0] / "config.json").read_text())
    values.pop("z_loss_weight")
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = chameleon_config(tmp_path)
    assert config.image_size == 32 and config.row_ends is None and len(config.image_start) == 1
    assert len(config.answer_forms(16).forms[0].groups) == 1 + 16 * 16


def test_the_full_size_has_the_names_and_sizes_of_the_release() -> None:
    with torch.device("meta"):
        model = ImageChameleon(ChameleonConfig(vocabulary_map={}))
    shapes = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == (65536, 4096)
    assert shapes["model.layers.31.mlp.down_proj.weight"] == (4096, 11008)
    assert shapes["model.layers.31.self_attn.q_norm.weight"] == (32, 128)
    without = sum(one.numel() for name, one in model.named_parameters() if ".vqmodel." not in name)
    assert 7.0e9 < without < 7.06e9
