"""Sizes and words of a processor."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, get_args

from instructseg.model.language import ChatFormat
from instructseg.model.language.phi import CHAT
from instructseg.processing.pixels import RGB, ClipPixels, MaskBranchPixels
from instructseg.processing.templates import SYSTEM_PROMPT, Wording
from instructseg.structures import Task


@dataclass(frozen=True)
class ProcessorConfig:
    """Sizes and words; the defaults are those of the released weights.

    Attributes:
        image_size: side of the mask branch's padded square, in pixels; a multiple of 32.
        clip_size: side of SigLIP's square, in pixels.
        num_image_tokens: SigLIP tokens of a frame, ``(clip_size // patch) ** 2``.
        num_temporal_queries: perceiver queries of a reference frame; 0 for a model without a perceiver.
        num_mask_queries: object queries.
        chat: the turns of a conversation, by the language model.
        system: the sentence in front of every conversation; may be empty.
        max_length: the longest sequence the language model takes, filled placeholders included.
        text_tasks: tasks whose reply is learned as text.
        wording: of what is said around an instruction: as ``released``; ``varied``, to train a model that does
            not depend on the words; ``held_out``, to measure how far it does.
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
    seg_mean: RGB = MaskBranchPixels.mean
    seg_std: RGB = MaskBranchPixels.std
    pad_value: int = MaskBranchPixels.pad_value
    clip_mean: RGB = ClipPixels.mean
    clip_std: RGB = ClipPixels.std

    def __post_init__(self) -> None:
        for name in ("image_size", "clip_size", "num_image_tokens", "num_mask_queries", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.wording not in get_args(Wording):
            raise ValueError(f"wording must be one of {', '.join(get_args(Wording))}, not '{self.wording}'")
        if self.num_temporal_queries < 0:
            raise ValueError(f"num_temporal_queries must not be negative, as {self.num_temporal_queries} is")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ProcessorConfig:
        """Reads what :meth:`to_dict` wrote.

        Raises:
            ValueError: a key or a task that does not exist.
        """
        known = [entry.name for entry in fields(cls)]
        for key in values:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
                raise ValueError(f"processor has no setting '{key}': {hint}")
        lists: dict[str, Any] = {
            key: tuple(value) for key, value in values.items() if isinstance(value, list | tuple)
        }
        if "text_tasks" in lists:
            lists["text_tasks"] = tuple(Task(task) for task in lists["text_tasks"])
        if isinstance(values.get("chat"), dict):
            lists["chat"] = _chat(values["chat"])
        return cls(**{**values, **lists})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "text_tasks": [task.value for task in self.text_tasks]}


def _chat(values: dict[str, Any]) -> ChatFormat:
    """The turns of a conversation as :meth:`ProcessorConfig.to_dict` wrote them."""
    names = [entry.name for entry in fields(ChatFormat)]
    if sorted(values) != sorted(names) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"chat must hold the texts {', '.join(names)}")
    return ChatFormat(**values)
