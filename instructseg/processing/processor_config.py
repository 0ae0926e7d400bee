"""Configuration of a processor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, get_args

from instructseg.model import InstructSegConfig
from instructseg.model.language import KINDS, ChatFormat
from instructseg.model.language.phi import CHAT
from instructseg.processing.pixels import RGB, ClipPixels, MaskBranchPixels
from instructseg.processing.templates import SYSTEM_PROMPT, Wording
from instructseg.structures import Task


@dataclass(frozen=True)
class ProcessorConfig:
    """Sizes and prompts; the defaults are those of the released weights.

    Attributes:
        image_size: side of the mask branch's padded square, in pixels; a multiple of 32.
        clip_size: side of SigLIP's square, in pixels.
        num_image_tokens: SigLIP tokens of a frame, ``(clip_size // patch) ** 2``.
        num_temporal_queries: perceiver queries of a reference frame; 0 for a model without a perceiver.
        num_mask_queries: object queries.
        chat: conversation format of the language model.
        system: the system prompt before every conversation; may be empty.
        max_length: the longest sequence the language model takes, filled placeholders included.
        text_tasks: tasks with a loss on the text of the reply.
        wording: of the prompt: ``released``; ``varied``, to train a model that does not depend on it;
            ``held_out``, to measure that.
        presence_threshold: presence (0..1) below which the mask is empty, fitted on held-out data; ``None``
            for weights without a known threshold, whose masks are never emptied.
        presence_temperature: above 0, divides mask score logits for the presence, fitted on held-out data;
            ``None`` for 1.
        instance_threshold: score (0..1) from which a query is an object where all are asked for, fitted
            likewise; ``None`` for 0.5.
        edges: whether outlines of masks are moved to edges of the frame, if a call does not say.
        words: that the weights have met in training, in lower case; empty where that is not known.
        seg_mean, seg_std: of the mask branch, per channel, of raw values 0..255.
        pad_value: raw value of the mask branch's padding.
        clip_mean, clip_std: of SigLIP, per channel, of values 0..1.
    """

    image_size: int = 1024
    clip_size: int = 384
    num_image_tokens: int = 729
    num_temporal_queries: int = 128
    num_mask_queries: int = 100
    chat: ChatFormat = CHAT
    system: str = SYSTEM_PROMPT
    max_length: int = 2048
    text_tasks: tuple[Task, ...] = (Task.REASON_SEG, Task.VQA)
    wording: Wording = "released"
    presence_threshold: float | None = None
    presence_temperature: float | None = None
    instance_threshold: float | None = None
    edges: bool = False
    words: tuple[str, ...] = ()
    seg_mean: RGB = MaskBranchPixels.mean
    seg_std: RGB = MaskBranchPixels.std
    pad_value: int = MaskBranchPixels.pad_value
    clip_mean: RGB = ClipPixels.mean
    clip_std: RGB = ClipPixels.std

    def __post_init__(self) -> None:
        for name, (least, most) in _WHOLE.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise ValueError(f"{name} must be a whole number from {least} to {most}, not {value!r:.60}")
        for name, above in _COLOURS.items():
            values = getattr(self, name)
            if len(values) != 3 or not all(above < value < _HUGE for value in values):
                words = "three numbers" if above < 0 else "three numbers above 0"
                raise ValueError(f"{name} must be {words}, not {values!r:.60}")
        if self.wording not in get_args(Wording):
            raise ValueError(f"wording must be one of {', '.join(get_args(Wording))}, not {self.wording!r:.60}")
        for name in ("presence_threshold", "instance_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number of 0..1 or null, not {value!r:.60}")
        temperature = self.presence_temperature
        if temperature is not None and not 0 < temperature < _HUGE:
            raise ValueError(f"presence_temperature must be a number above 0 or null, not {temperature!r:.60}")

    @classmethod
    def from_dict(cls, values: Any, where: str = "processor") -> ProcessorConfig:
        """Reads what :meth:`to_dict` wrote.

        Raises:
            ValueError: a key is missing or does not exist, or a value is not allowed; it is named.
        """
        if not isinstance(values, dict):
            raise ValueError(f"{where} holds a {type(values).__name__}, not an object")
        from instructseg.typed_yaml import Origins, build

        config = build(cls, values, Origins(where))
        missing = [name for name in _NEEDED if name not in values]
        if missing:
            null = ", or add it as null where it has none" if missing[0] == "presence_threshold" else ""
            raise ValueError(f"{where}: {missing[0]} is missing: copy it from the model's own file{null}")
        return config

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {**asdict(self), "text_tasks": [task.value for task in self.text_tasks]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def processor_config(config: InstructSegConfig, system: str = SYSTEM_PROMPT) -> ProcessorConfig:
    """The processor's configuration for a model: its sizes, and the chat format of its language model."""
    text: Any = config.text_config
    kind = KINDS[text.model_type]
    return ProcessorConfig(
        image_size=config.image_size,
        clip_size=config.clip_size,
        num_image_tokens=config.num_image_tokens,
        num_temporal_queries=config.ovp_queries if config.use_ovp else 0,
        num_mask_queries=config.num_queries,
        chat=kind.chat,
        system=system,
        max_length=text.max_position_embeddings,
        text_tasks=ProcessorConfig.text_tasks if kind.generates else (),
    )


_HUGE = 1e9
_WHOLE = {
    "image_size": (32, 65536), "clip_size": (1, 65536), "num_image_tokens": (1, 10_000_000),
    "num_temporal_queries": (0, 65536), "num_mask_queries": (1, 65536), "max_length": (1, 10_000_000),
    "pad_value": (0, 255),
}  # fmt: skip
"""Settings that are whole numbers, with the least and the most."""
_COLOURS = {"seg_mean": -_HUGE, "seg_std": 0.0, "clip_mean": -_HUGE, "clip_std": 0.0}
"""Settings of three numbers, with what each is above."""
_NEEDED = (*_WHOLE, *_COLOURS, "system", "text_tasks", "wording", "presence_threshold")
"""Settings that every file has; the defaults are those of the released weights and not of others."""
