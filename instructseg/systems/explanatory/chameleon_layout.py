"""Folders in the layout of Chameleon and of Lumina-mGPT, from which the paper's model is fine-tuned.

::

    config.json               model_type chameleon, with the vocabulary_map
    model-*.safetensors       model.embed_tokens, model.layers.N, model.norm, lm_head; perhaps model.vqmodel
    tokenizer.json
    vqgan.ckpt                of Meta's release (tokenizer/vqgan.ckpt), or the same tensors as vqgan.safetensors

transformers has the encoder of Chameleon's VQ-GAN alone, so images are coded and drawn by ``VQModel`` of
diffusers, whose layers are the same; the file has the names of latent diffusion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from transformers import ChameleonConfig, ChameleonVQVAEConfig

from instructseg.convert.readers import open_weights
from instructseg.files import read_object
from instructseg.model.config_file import CONFIG_FILE
from instructseg.systems.explanatory.explanatory_config import ExplanatoryConfig
from instructseg.systems.explanatory.explanatory_model import Explanatory
from instructseg.systems.explanatory.image_chameleon import ImageChameleon
from instructseg.systems.sequence.visual_codes import VisualCodes

CHAMELEON = "chameleon"
"""``model_type`` of both."""
CODECS = ("vqgan.safetensors", "vqgan.ckpt")
START, END, TURN = "<racm3:break>", "<eoss>", "<reserved08706>"
"""Names of the tokens that start an image, end it, and end what the user says."""
ROW_END, GRIDS, GRID = "<reserved08799>", "<reserved{:05d}>", 32
"""Of Lumina-mGPT: the token behind each row of codes, that of a number of grids of 32 pixels, from 8800 on."""
LUMINA = ("z_loss_weight", "mask_image_logits")
"""Keys of ``config.json`` that only Lumina-mGPT has."""
LUMINA_SIZE = 448
"""Pixels of a side in the paper: 28 x 28 codes."""


def open_chameleon(folder: Path, dtype: torch.dtype | str | None = None) -> Explanatory:
    """The model of a folder, that of Explanatory Instructions or one to be fine-tuned.

    Args:
        folder: in the layout above.
        dtype: of the weights; ``None`` for that of the files.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or of another architecture.
    """
    config = chameleon_config(folder)
    loaded: Any = ImageChameleon.from_pretrained(
        folder, config=config.language_config, dtype=dtype or "auto", output_loading_info=True
    )
    language, unplaced = loaded
    # Lumina-mGPT has no VQ-GAN among its weights, and here that of diffusers is used
    missing = sorted(name for name in unplaced["missing_keys"] if not name.startswith("model.vqmodel."))
    if missing or unplaced["mismatched_keys"]:
        example = (missing or sorted(unplaced["mismatched_keys"]))[0]
        raise ValueError(f"the weights of {folder} do not fit its {CONFIG_FILE}: {example}")
    return Explanatory(config, language, open_codec(folder, config))  # codes need all digits: float32


def chameleon_config(folder: Path) -> ExplanatoryConfig:
    """How images stand in the vocabulary of a folder.

    Raises:
        ValueError: its ``config.json`` lacks a token, or its VQ-GAN has attention between its blocks.
    """
    file = folder / CONFIG_FILE
    values = read_object(file)
    try:
        language = ChameleonConfig(**{key: value for key, value in values.items() if key != "model_type"})
    except Exception as error:  # transformers raises errors of any class while it checks a configuration
        raise ValueError(f"{file}: no Chameleon has these values ({str(error).splitlines()[0]})") from error
    named, vq = dict(language.vocabulary_map or {}), cast(ChameleonVQVAEConfig, language.vq_config)
    lumina = any(key in values for key in LUMINA)
    size = LUMINA_SIZE if lumina else vq.resolution
    channels = [vq.base_channels * times for times in vq.channel_multiplier]
    grids = [GRIDS.format(8800 + size // GRID)] * 2 if lumina else []
    wanted = [START, END, TURN, *grids, *([ROW_END] if lumina else [])]
    order = _code_order(named, vq.num_embeddings, file)
    absent = [name for name in wanted if name not in named]
    if absent:
        raise ValueError(f"{file}: the vocabulary_map lacks {absent[0]}")
    if vq.attn_resolutions:
        raise ValueError(f"{file}: a VQ-GAN with attn_resolutions is not supported")
    first = min(order)
    counts = {"first": first, "image": len(order), "text": language.vocab_size - first - len(order)}
    return ExplanatoryConfig(
        language_config=language,
        visual_config=_codec_settings(vq, channels),
        image_size=size,
        groups=[[name, count] for name, count in counts.items() if count],
        code_order=[one - first for one in order],
        image_start=[named[name] for name in (START, *grids)],
        row_ends=[named[ROW_END]] * (size // 2 ** (len(channels) - 1)) if lumina else None,
        image_end=named[END],
        before_answer=[named[TURN]],
        causal_prefix=True,
        guidance=3.0,
        image_top_k=2048,
    )


def _code_order(named: dict[str, int], count: int, file: Path) -> list[int]:
    """Ids of the tokens of codes 0 and up: ``IMGIMG`` and the number, with A to J for its digits, and a Z.

    Raises:
        ValueError: they are not ``count`` ids one behind the other.
    """
    digits = str.maketrans("ABCDEFGHIJ", "0123456789")
    found = {
        int(name[len("IMGIMG") : -1].translate(digits)): place
        for name, place in named.items()
        if name.startswith("IMGIMG")
    }
    order = [found.get(code, -1) for code in range(count)]
    if sorted(order) != list(range(min(order), min(order) + count)) or min(order) < 0:
        raise ValueError(f"{file}: the vocabulary_map has not {count} tokens of images one behind the other")
    return order


def _codec_settings(vq: ChameleonVQVAEConfig, channels: list[int]) -> dict[str, Any]:
    """Settings of diffusers' ``VQModel`` for Chameleon's VQ-GAN."""
    return {
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "block_out_channels": tuple(channels),
        "layers_per_block": vq.num_res_blocks,
        "latent_channels": vq.latent_channels,
        "num_vq_embeddings": vq.num_embeddings,
        "vq_embed_dim": vq.embed_dim,
    }


def open_codec(folder: Path, config: ExplanatoryConfig) -> VisualCodes:
    """The VQ-GAN of a folder, encoder and decoder.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: it is damaged, or of another size.
    """
    files = [folder / name for name in CODECS if (folder / name).is_file()]
    if not files:
        raise FileNotFoundError(
            f"{folder} has no {CODECS[1]}, which draws images: copy it from tokenizer/ of Meta's Chameleon"
        )
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    settings = config.visual_config or {}
    visual = VisualCodes(settings, config.image_size)
    stored = dict(open_weights(files[0]))
    state = convert_ldm_vae_checkpoint(stored, settings)
    state["quantize.embedding.weight"] = stored.get("quantize.embedding.weight")
    try:
        visual.vq.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"{files[0]} does not fit {CONFIG_FILE}: {str(error).splitlines()[-1].strip()}"
        ) from error
    return visual
