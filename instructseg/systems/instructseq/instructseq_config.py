"""Configuration of InstructSeq, and the paper's size."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, LlamaConfig, PreTrainedConfig, RobertaConfig

from instructseg.systems.codecs import COLOURS
from instructseg.systems.sequence.visual_codes import cell_side
from instructseg.systems.sequence.vocabulary import AnswerForm, AnswerForms, Vocabulary

MODEL_TYPE = "instructseq"
COLOUR_NAMES = tuple(name for name in COLOURS if name != "black")
"""Colours in which an instruction can have a mask painted, on black; a token each."""
MOST_WORDS = 64
"""Tokens of a caption at most."""
PALETTE = len(COLOUR_NAMES)
"""Number of the colour token that begins a class map."""


@strict
class InstructSeqConfig(PreTrainedConfig):
    """Configuration of :class:`~instructseg.systems.instructseq.instructseq_model.InstructSeq`.

    Attributes:
        image_config: the image encoder, of any model of transformers with a map or tokens of states.
        text_config: the text encoder; its tokens are also those of captions.
        language_config: the auto-regressive transformer; its vocabulary is that of :attr:`vocabulary`.
        visual_config: settings of :class:`~instructseg.systems.sequence.visual_codes.VisualCodes`.
        image_size: side of the square that images are resized to, in pixels.
        answer_size: side of coded images.
        locations: number of location tokens over a side of the image.
        classes: names of the classes of a class map, whose colours are those of ``even_palette`` behind black.
        cell_colours: whether an image token also carries the mean colour of its cell, for small image encoders.
        gated_image: whether the instruction as a whole also scales image tokens, for small models.
        frozen_text: whether the text encoder is not trained.
        samples, temperature: of answers, by default.
        tie_word_embeddings: whether the tokens of answers have one row each, for reading and for writing.
        calibration, calibration_shift: temperature of the confidence and shift of its logit, fitted so that it
            is the share of cells that are right.
    """

    model_type = MODEL_TYPE
    sub_configs = {  # noqa: RUF012  (the base class's protocol)
        "image_config": AutoConfig,
        "text_config": RobertaConfig,
        "language_config": LlamaConfig,
    }

    image_config: Any = None
    text_config: Any = None
    language_config: Any = None
    visual_config: dict | None = None
    image_size: int = 512
    answer_size: int = 256
    locations: int = 1000
    classes: list[str] | None = None
    cell_colours: bool = False
    gated_image: bool = False
    frozen_text: bool = True
    samples: int = 10
    temperature: float = 1.0
    calibration: float = 1.0
    calibration_shift: float = 0.0
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        for name, kind in (("text_config", RobertaConfig), ("language_config", LlamaConfig)):
            given = getattr(self, name)
            if given is None or isinstance(given, dict):
                setattr(self, name, kind(**{k: v for k, v in (given or {}).items() if k != "model_type"}))
        if self.image_config is None or isinstance(self.image_config, dict):
            given = dict(self.image_config or {"model_type": "vit_mae"})
            self.image_config = AutoConfig.for_model(given.pop("model_type"), **given)
        self.visual_config = self.visual_config or _VQ
        super().__post_init__(**kwargs)

    @property
    def vocabulary(self) -> Vocabulary:
        """Words, codes of images, locations, and colours with the palette of class maps behind them."""
        assert self.visual_config is not None
        return Vocabulary(
            {
                "text": self.text_config.vocab_size,
                "image": self.visual_config["num_vq_embeddings"],
                "location": self.locations,
                "colour": PALETTE,
                "palette": 1,
            }
        )

    @property
    def forms(self) -> dict[str, AnswerForm]:
        """Forms of answers by task: a colour and a mask in it, a class map, a box, a caption."""
        assert self.visual_config is not None
        image = ("image",) * (self.answer_size // cell_side(self.visual_config)) ** 2
        return {
            "segment": AnswerForm("segment", ("colour", *image)),
            "semantic": AnswerForm("semantic", ("palette", *image)),
            "detect": AnswerForm("detect", ("location",) * 4),
            "caption": AnswerForm("caption", ("text",), repeated="text", most=MOST_WORDS),
        }

    def answer_forms(self, *tasks: str) -> AnswerForms:
        """The grammar of some of the tasks, or of all."""
        some = [self.forms[task] for task in tasks or self.forms]
        return AnswerForms(self.vocabulary, some, int(self.text_config.eos_token_id))


_VQ = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 128, 256, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "num_vq_embeddings": 16384,
}
"""A VQ-GAN with f = 8, as of latent diffusion; the paper names no size of the codebook."""


def full_config() -> InstructSeqConfig:
    """The paper's size: MAE-L at 512 pixels, frozen RoBERTa-L, 12 layers of width 1024, VQ at 256 pixels."""
    large: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    large["intermediate_size"] = 4096
    text = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, **large)
    config = InstructSeqConfig(
        image_config={"model_type": "vit_mae", "image_size": 512, "mask_ratio": 0.0, **large}, text_config=text
    )
    language: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 16}
    language |= {"intermediate_size": 2816, "vocab_size": config.vocabulary.size, "tie_word_embeddings": True}
    config.language_config = LlamaConfig(**language)
    return config
