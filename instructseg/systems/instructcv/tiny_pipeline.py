"""A small pipeline with new weights, of the classes of the released one, for a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from instructseg.systems.instructcv.space_to_depth import SpaceToDepth

WIDTH, TOKENS, HEADS = 96, 24, 4
"""Of the text encoder: dimensions, positions, heads."""
CHANNELS = (64, 96)
"""Of the UNet, by level."""


def tiny_pipeline(words: Iterable[str], image_size: int = 32, patch: int = 4, seed: int = 0) -> Any:
    """``StableDiffusionInstructPix2PixPipeline`` of 3 million parameters.

    The scheduler predicts velocity and ends at zero signal (arXiv 2305.08891): the mean colour of an answer,
    which is all of a classification, could otherwise be read from the noise in training, and not in use.

    Args:
        words: of the instructions; each is one token, others are spelled.
        image_size, patch: pixels.
        seed: of the weights.

    Raises:
        ImportError: diffusers is missing.
    """
    from diffusers import StableDiffusionInstructPix2PixPipeline
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    tokenizer = word_tokenizer(words)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return StableDiffusionInstructPix2PixPipeline(
        vae=SpaceToDepth(patch),
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=_unet(image_size // patch, 3 * patch**2),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _unet(size: int, channels: int) -> Any:
    """A UNet on latents ``float[B, channels, size, size]``, beside those of the image."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=size,
        in_channels=2 * channels,
        out_channels=channels,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=HEADS,
        norm_num_groups=16,
    )


def _scheduler() -> Any:
    """Velocity, and a last time without any signal."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def word_tokenizer(words: Iterable[str]) -> Any:
    """A ``CLIPTokenizer`` to which each word is one token, and every other one its letters."""
    from transformers import AddedToken, CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789,?!'-")
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    nothing: Any = []
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=nothing, model_max_length=TOKENS)
    # not by merges: those of one word would take others apart ("an" before "triangle" is whole)
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    return tokenizer
