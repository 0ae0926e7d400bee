"""Language models with one interface: a file and a row of :data:`KINDS` for each kind."""

from instructseg.model.language.bert import BertLanguageModel
from instructseg.model.language.causal import rotate
from instructseg.model.language.language_model import ChatFormat, LanguageModel, Placement, Sampling
from instructseg.model.language.lora import LORA_RELEASED, add_lora, merge_lora
from instructseg.model.language.phi import PhiLanguageModel
from instructseg.model.language.qwen3 import Qwen3LanguageModel

KINDS: dict[str, type[LanguageModel]] = {
    "phi": PhiLanguageModel,
    "bert": BertLanguageModel,
    "qwen3": Qwen3LanguageModel,
}
"""``model_type`` of ``text_config`` -> the language model."""

__all__ = [
    "KINDS",
    "LORA_RELEASED",
    "BertLanguageModel",
    "ChatFormat",
    "LanguageModel",
    "PhiLanguageModel",
    "Placement",
    "Qwen3LanguageModel",
    "Sampling",
    "add_lora",
    "merge_lora",
    "rotate",
]
