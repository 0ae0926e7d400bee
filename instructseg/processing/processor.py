"""Processor of samples into batches, with tokenizer and sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from instructseg.files import read_json
from instructseg.processing.conversation import (
    PromptStyle,
    Sequences,
    pad_sequences,
    render,
    render_prompt,
)
from instructseg.processing.known_words import KnownWords
from instructseg.processing.pixels import ClipPixels, MaskBranchPixels, stack_frames
from instructseg.processing.processor_config import ProcessorConfig
from instructseg.processing.storage import load_tokenizer, local_folder, save_files
from instructseg.processing.templates import SEG_TOKEN, ensure_special_tokens, token_id
from instructseg.structures import (
    IGNORE_LABEL,
    IGNORE_PIXEL,
    Geometry,
    MaskTargets,
    ModelInputs,
    Role,
    Sample,
    Task,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIG_NAME = "processor_config.json"


class InstructSegProcessor:
    """Prepares instructions and frames for the model.

    Args:
        tokenizer: of the language model; ``[SEG]`` is added to it where it is missing.

    Attributes:
        num_added_tokens: how many tokens were added to the tokenizer; the embedding table needs a row each.
        seg_token_id: id of ``[SEG]``, which ends a generated explanation.
        known_words: what the weights know of the words of instructions.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: ProcessorConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config = config or ProcessorConfig()
        self.num_added_tokens = ensure_special_tokens(tokenizer, config.chat.end)
        self.seg_token_id = token_id(tokenizer, SEG_TOKEN)
        self.known_words = KnownWords(tokenizer, config.words)
        self.mask_branch = MaskBranchPixels(
            config.image_size, config.seg_mean, config.seg_std, config.pad_value
        )
        self.clip = ClipPixels(config.clip_size, config.clip_mean, config.clip_std)

    def __call__(self, samples: Sequence[Sample], training: bool = False) -> ModelInputs:
        """Prepares a batch; samples of different tasks may be mixed.

        Samples that hold the very same frame arrays share one image.

        Args:
            training: whether replies are included with labels. Otherwise no ``answer`` is read: a VQA row
                ends where the model generates, every other row is complete for its mask.

        Raises:
            ValueError: no samples, a bad frame or instruction, a row that is too long, a missing VQA answer.
        """
        rows, images, frames = [], [], []
        places: dict[tuple[int, ...], int] = {}
        encoded: dict[int, torch.Tensor] = {}
        image_index = []
        for sample in samples:
            references = sample.reference_frames if sample.task.has_mask else ()
            rows.append(self._render(sample, len(references), training))
            shown = (sample.key_frame, *references)
            identity = tuple(map(id, shown))
            if identity not in places:
                places[identity] = len(places)
                for frame in shown:
                    if id(frame) not in encoded:
                        encoded[id(frame)] = self.clip(frame)
                images.append([encoded[number] for number in identity])
                frames.append(sample.key_frame)
            image_index.append(places[identity])
        input_ids, roles, labels = self._pad(rows)
        clip_pixels, num_references = stack_frames(images)
        with_masks = any(sample.task.has_mask for sample in samples)
        keys = [self.mask_branch(frame) for frame in frames] if with_masks else []
        return ModelInputs(
            input_ids=input_ids,
            roles=roles,
            clip_pixels=clip_pixels,
            num_references=num_references,
            seg_pixels=torch.stack([pixels for pixels, _ in keys]) if keys else None,
            geometry=tuple(geometry for _, geometry in keys),
            labels=labels if training else None,
            image_index=None if len(frames) == len(samples) else torch.tensor(image_index),
        )

    def encode_text(
        self,
        instructions: Sequence[str],
        task: Task,
        num_references: int = 0,
        *,
        explain: bool = False,
        answers: Sequence[str] | None = None,
        generate: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encodes instructions on one key frame, without its pixels.

        Args:
            instructions: objects to segment, or questions.
            num_references: reference frames of the key frame; 0 makes it its own reference.
            explain: whether to ask for the explanation (``REASON_SEG``).
            answers: explanations or replies, one per instruction, to include.
            generate: ends each row where the model generates.

        Returns:
            ``input_ids`` and ``roles``, ``int64[B, L]``.

        Raises:
            ValueError: as of :meth:`__call__`, and answers that are not one per instruction.
        """
        if answers is not None and len(answers) != len(instructions):
            raise ValueError(f"{len(instructions)} instructions but {len(answers)} answers")
        given: Sequence[str | None] = answers or [None] * len(instructions)
        rows = [
            self._row(task, instruction, num_references, explain=explain, answer=answer, generate=generate)
            for instruction, answer in zip(instructions, given, strict=True)
        ]
        input_ids, roles, _ = self._pad(rows)
        return input_ids, roles

    def encode_key_frame(self, frame: np.ndarray) -> tuple[torch.Tensor, Geometry]:
        """``uint8[H, W, 3]`` to the mask branch's ``float32[3, S, S]`` and the geometry that reverts it."""
        return self.mask_branch(frame)

    def encode_clip(self, frame: np.ndarray) -> torch.Tensor:
        """``uint8[H, W, 3]`` of a key or reference frame to SigLIP's ``float32[3, S, S]``."""
        return self.clip(frame)

    def targets(self, samples: Sequence[Sample]) -> list[MaskTargets]:
        """Ground truth at the padded size, one entry per sample with a mask task, in order.

        Raises:
            ValueError: a sample without masks, or masks that do not fit the frame.
        """
        return [self._target(sample) for sample in samples if sample.task.has_mask]

    def decode(self, ids: Sequence[int]) -> str:
        """Decodes generated token ids to plain text."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        assert isinstance(text, str)  # one list of ids is one text
        return text.replace(SEG_TOKEN, "").strip()

    def strange_words(self, texts: Sequence[str]) -> list[str]:
        """Words, and symbols such as emoji, that the weights do not know, each once."""
        return self.known_words.strange(texts)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes ``processor_config.json`` and the tokenizer's files; each appears complete or not at all."""
        values = json.dumps(self.config.to_dict(), indent=2, ensure_ascii=False) + "\n"
        save_files(self.tokenizer, Path(folder), {CONFIG_NAME: values})

    @classmethod
    def from_pretrained(
        cls, source: str | Path | None = None, config: ProcessorConfig | None = None
    ) -> InstructSegProcessor:
        """Loads a processor from a folder or from the hub.

        Args:
            source: a folder, the id of a hub repository, or the name of a bundled model.
            config: replaces ``processor_config.json``, which the official checkpoints lack.

        Raises:
            FileNotFoundError: there is no such folder or repository, or a file is missing from it.
            ValueError: a file is damaged, or has an unknown or invalid setting; it is named.
        """
        folder = local_folder(source)
        if config is None:
            file = folder / CONFIG_NAME
            if not file.is_file():
                raise FileNotFoundError(
                    f"no {CONFIG_NAME} in {source}: copy it and the tokenizer from the folder that the model "
                    "was made from, or write them with the save_pretrained of its predictor or processor; for "
                    "an official checkpoint pass config=ProcessorConfig()"
                )
            config = ProcessorConfig.from_dict(read_json(file), str(file))
        return cls(load_tokenizer(folder), config)

    def _render(self, sample: Sample, num_references: int, training: bool) -> Sequences:
        """The row of a sample; errors name the sample."""
        try:
            if training and sample.explain and not sample.answer:
                raise ValueError("the sample asks for an explanation but has no answer to learn")
            return self._row(
                sample.task,
                sample.instruction,
                num_references,
                explain=sample.explain,
                answer=sample.answer if training else None,
                generate=not training and not sample.task.has_mask,
                learn_text=training and sample.task in self.config.text_tasks,
            )
        except ValueError as error:
            raise ValueError(f"{_where(sample)}{error}") from error

    def _row(
        self,
        task: Task,
        instruction: str,
        num_references: int,
        *,
        explain: bool,
        answer: str | None,
        generate: bool,
        learn_text: bool = False,
    ) -> Sequences:
        """One row; raises if it exceeds the language model's length."""
        config = self.config
        lengths = {
            Role.IMAGE: config.num_image_tokens,
            Role.TEMPORAL: config.num_temporal_queries * max(1, num_references),
            Role.MASK: config.num_mask_queries,
        }
        style = PromptStyle(config.chat, config.system, config.wording)
        if generate:
            row = render_prompt(self.tokenizer, task, instruction, lengths, style=style, explain=explain)
        else:
            row = render(
                self.tokenizer, task, instruction, lengths,
                style=style, explain=explain, answer=answer, learn_text=learn_text,
            )  # fmt: skip
        excess = len(row) - config.max_length
        if excess > 0:
            written = " ".join(filter(None, (instruction, answer)))
            tokens = len(self.tokenizer.encode(written, add_special_tokens=False, verbose=False))
            raise ValueError(
                f"the instruction and its answer have {tokens} tokens, but only {max(0, tokens - excess)} fit "
                f"(max_length {config.max_length}, {len(row)} positions in all): shorten them"
            )
        return row

    @staticmethod
    def _pad(rows: Sequence[Sequences]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids, roles and labels, ``int64[B, L]`` each."""
        return (
            pad_sequences([row.input_ids for row in rows], 0),
            pad_sequences([row.roles for row in rows], Role.PAD),
            pad_sequences([row.labels for row in rows], IGNORE_LABEL),
        )

    def _target(self, sample: Sample) -> MaskTargets:
        """Masks, distractors and ignored pixels of one sample."""
        if sample.masks is None:
            raise ValueError(f"{_where(sample)}task '{sample.task.value}' needs masks to learn from")
        geometry = self.mask_branch.geometry(*sample.key_frame.shape[:2])
        others = [] if sample.distractors is None else list(sample.distractors)
        resized = [self.mask_branch.resize_mask(mask, geometry) for mask in (*sample.masks, *others)]
        stacked = np.stack(resized) if resized else np.zeros((0, *geometry.padded), np.uint8)
        ignore = (stacked == IGNORE_PIXEL).any(0)
        if ((stacked > 1) & (stacked != IGNORE_PIXEL)).any():
            raise ValueError(f"{_where(sample)}a mask pixel is 0, 1 or {IGNORE_PIXEL} (not counted)")
        answers = len(resized) - len(others)
        return MaskTargets(
            masks=torch.from_numpy(stacked == 1),
            is_answer=torch.arange(len(resized)) < answers if others else None,
            ignore=torch.from_numpy(ignore) if ignore.any() else None,
        )


def _where(sample: Sample) -> str:
    """The start of an error message about a sample."""
    return f"sample '{sample.name}': " if sample.name else ""
