"""Configuration of VisionLLM, and the paper's size."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import BertConfig, DeformableDetrConfig, LlamaConfig, PreTrainedConfig

MODEL_TYPE = "visionllm"


@strict
class VisionLLMConfig(PreTrainedConfig):
    """Configuration of :class:`~instructseg.systems.visionllm.visionllm_model.VisionLLM`.

    Attributes:
        detector_config: the image tokenizer; ``num_queries`` is M, the number of image tokens.
        text_config: the text encoder that guides it.
        language_config: the language model; the last rows of its table are the class tokens, the token of no
            object, and the location tokens.
        image_size: side of the square that images are resized to, in pixels.
        classes: number of class tokens (512 in the paper).
        half_bins: R of :mod:`instructseg.systems.locations` (512 in the paper).
        lora: ``{"r", "alpha", "targets"}`` of adapters in the language model; ``None`` to train all of it.
        trained_norms: whether BatchNorm replaces the frozen one of the backbone and the GroupNorm of the
            projections, for training from scratch.
        min_score: score (0..1) from which an image token is an object.
    """

    model_type = MODEL_TYPE
    sub_configs = {  # noqa: RUF012  (the base class's protocol)
        "detector_config": DeformableDetrConfig,
        "text_config": BertConfig,
        "language_config": LlamaConfig,
    }

    detector_config: Any = None
    text_config: Any = None
    language_config: Any = None
    image_size: int = 800
    classes: int = 512
    half_bins: int = 512
    lora: dict | None = None
    trained_norms: bool = False
    min_score: float = 0.3

    def __post_init__(self, **kwargs: Any) -> None:
        for name, kind in self.sub_configs.items():
            given = getattr(self, name)
            if given is None or isinstance(given, dict):
                setattr(self, name, kind(**{k: v for k, v in (given or {}).items() if k != "model_type"}))
        super().__post_init__(**kwargs)

    @property
    def first_class(self) -> int:
        """Row of ``<c0>``; those before it are words, behind the classes is the token of no object."""
        return self.first_location - 1 - self.classes

    @property
    def first_location(self) -> int:
        """Row of ``<p-R>``."""
        return self.language_config.vocab_size - (2 * self.half_bins + 1)


def full_config() -> VisionLLMConfig:
    """The paper's size: ResNet-50, Deformable DETR 6 + 6, BERT base, 7B language model with LoRA.

    Its Alpaca has the layers of LLaMA. The rank of LoRA is not in the paper: 64 is ours.
    """
    backbone = {"model_type": "resnet", "out_features": ["stage2", "stage3", "stage4"]}
    detector = DeformableDetrConfig(backbone_config=backbone, num_queries=100, with_box_refine=True)
    return VisionLLMConfig(
        detector_config=detector,
        text_config=BertConfig(),
        language_config=LlamaConfig(vocab_size=32000 + 512 + 1 + 1025),
        lora={"r": 64, "alpha": 16, "targets": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    )
