"""Configuration of Explanatory Instructions: one vocabulary, and how an image stands in it."""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, ChameleonConfig, LlamaConfig, PreTrainedConfig

from instructseg.systems.sequence.vocabulary import AnswerForm, AnswerForms, Vocabulary

MODEL_TYPE = "explanatory"


@strict
class ExplanatoryConfig(PreTrainedConfig):
    """Configuration of :class:`~instructseg.systems.explanatory.explanatory_model.Explanatory`.

    An image is ``image_start``, rows of codes with a token of ``row_ends`` behind each, and ``image_end``.

    Attributes:
        language_config: the auto-regressive transformer, Llama or Chameleon.
        visual_config: settings of :class:`~instructseg.systems.sequence.visual_codes.VisualCodes`.
        image_size: side of the square that images are resized to, in pixels.
        groups: name and number of tokens of each group, in order; ``image`` among them, a token for each code.
        code_order: number of each code's token in the group ``image``; ``None`` for the same order.
        image_start: ids before the first code.
        row_ends: id behind each row of codes; empty for none.
        image_end: id behind the last row, the end of an answer.
        before_answer: ids between the input image and the answer.
        causal_prefix: whether tokens of the prefix see those before them alone, as Chameleon was trained.
        gated_image: whether the instruction as a whole also scales tokens of the input image, for small models.
        samples, temperature, guidance: of answers, by default.
        image_top_k: codes that are sampled from at most; 0 for no limit. The paper has 2048.
        z_loss: weight of the squared logarithm of the softmax's denominator in training.
        tie_word_embeddings: whether a token has one row, for reading and for writing.
    """

    model_type = MODEL_TYPE
    sub_configs = {"language_config": AutoConfig}  # noqa: RUF012  (the base class's protocol)

    language_config: Any = None
    visual_config: dict | None = None
    image_size: int = 448
    groups: list | None = None
    code_order: list[int] | None = None
    image_start: list[int] | None = None
    row_ends: list[int] | None = None
    image_end: int = 0
    before_answer: list[int] | None = None
    causal_prefix: bool = False
    gated_image: bool = False
    samples: int = 1
    temperature: float = 1.0
    guidance: float = 1.0
    image_top_k: int = 0
    z_loss: float = 1e-5
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        if self.language_config is None or isinstance(self.language_config, dict):
            given = dict(self.language_config or {})
            kind = {"llama": LlamaConfig, "chameleon": ChameleonConfig}[given.pop("model_type", "llama")]
            self.language_config = kind(**given)
        super().__post_init__(**kwargs)

    @property
    def vocabulary(self) -> Vocabulary:
        """Groups of tokens."""
        return Vocabulary(dict(self.groups or []))

    def answer_forms(self, side: int) -> AnswerForms:
        """The only form of an answer: an image of ``side`` times ``side`` codes; nothing else inside of it.

        Raises:
            ValueError: there are row ends, and their number is not ``side``.
        """
        ends = self.row_ends or []
        if ends and len(ends) != side:
            raise ValueError(f"an image of {side} rows needs as many row ends, not {len(ends)}")
        rows: list[str | int] = []
        for row in range(side):
            rows += [*["image"] * side, *ends[row : row + 1]]
        form = AnswerForm("image", (*(self.image_start or ()), *rows))
        return AnswerForms(self.vocabulary, [form], self.image_end)
