"""One answer of several samples of InstructSeq: mask, class map, box or caption.

Letters: ``N`` samples, ``h`` cells of a side, ``H, W`` pixels of the frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.evaluation.calibration import with_temperature
from instructseg.systems.codecs import COLOURS, box_overlap, decode_classes, even_palette
from instructseg.systems.instructseq.instructseq_config import COLOUR_NAMES, InstructSeqConfig
from instructseg.systems.locations import from_bins, to_bins
from instructseg.systems.sequence.agreement import (
    confidence_map,
    confirmed,
    mask_overlap,
    most_agreeing,
    most_frequent,
    vote,
)
from instructseg.systems.sequence.instruction_reader import InstructionReader
from instructseg.systems.sequence.visual_codes import VisualCodes, restore_image

YES, NO = "yes", "no"
"""Answers to whether something is there."""


@dataclass(frozen=True, eq=False)
class SequenceAnswer:
    """What the samples of one instruction say together.

    Attributes:
        task: form of the answer: ``segment``, ``semantic``, ``detect`` or ``caption``; that of most samples.
        agreement: 0..1, share of all samples of that form whose answer is not empty; of a question that is
            answered with yes or no, share of those that say yes.
        certainty: 0..1, mean probability of the chosen sample's tokens; of a mask, of its cells.
        mask: ``bool[H, W]``, of a segmentation.
        probability: ``float32[H, W]``, 0..1, share of the samples that paint a pixel; of a segmentation.
        classes: ``int64[H, W]``, 0 for none of the classes; of a class map.
        box: left, top, right, bottom as shares of the sides; of a detection.
        text: of a caption.
        drawn: ``uint8[H, W, 3]``, the image of the chosen sample or of the vote.
        confidence: ``float32[H, W]``, 0..1, of an image: how likely it is right there, by the probability of
            the codes and by the other samples.
    """

    task: str
    agreement: float
    certainty: float
    mask: np.ndarray | None = None
    probability: np.ndarray | None = None
    classes: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    text: str | None = None
    drawn: np.ndarray | None = None
    confidence: np.ndarray | None = None


class AnswerReader:
    """Turns tokens into answers, and answers into tokens.

    Args:
        config: of the model.
        visual: its VQ model.
        words: its tokenizer.
    """

    def __init__(self, config: InstructSeqConfig, visual: VisualCodes, words: InstructionReader) -> None:
        self.config, self.visual, self.words = config, visual, words
        self.vocabulary, self.forms = config.vocabulary, config.answer_forms()
        self.palette = even_palette(len(config.classes or ()) + 1)

    def location_tokens(self, box: Sequence[float]) -> list[int]:
        """Four tokens of a box: left, top, right, bottom as shares of the sides."""
        bins = to_bins(np.array(box), self.config.locations - 1, absolute=True)
        return [self.vocabulary.first("location") + int(one) for one in bins]

    def box(self, tokens: Sequence[int]) -> tuple[float, float, float, float]:
        """The box of four tokens; without an area where they are in the wrong order."""
        bins = np.array(tokens) - self.vocabulary.first("location")
        left, top, right, bottom = from_bins(bins, self.config.locations - 1).tolist()
        return left, top, right, bottom

    def read(self, tokens: np.ndarray, chances: np.ndarray, height: int, width: int) -> SequenceAnswer:
        """The answer of samples ``int64[N, T]`` with the probabilities of their tokens, ``float[N, T]``."""
        ends = [int((row == self.forms.end).argmax()) for row in tokens]
        tasks = [self.forms.form_of(int(row[0])).name for row in tokens]
        task = Counter(tasks).most_common(1)[0][0]
        rows = [place for place, one in enumerate(tasks) if one == task]
        share = len(rows) / len(tasks)
        if task in ("segment", "semantic"):
            return self._image(task, tokens[rows], chances[rows], (height, width))
        # an empty answer is as likely as its end
        certain = [float(chances[row, : max(1, ends[row])].mean()) for row in rows]
        if task == "detect":
            boxes = [self.box(tokens[row, :4].tolist()) for row in rows]
            best = most_agreeing(boxes, box_overlap)
            return SequenceAnswer(task, share, certain[best], box=boxes[best])
        texts = [self.words.text(tokens[row, : ends[row]].tolist()) for row in rows]
        best = most_frequent(texts)
        if texts[best] in (YES, NO):
            share = texts.count(YES) / len(tasks)
        return SequenceAnswer(task, share, certain[best], text=texts[best])

    def _image(
        self, task: str, tokens: np.ndarray, chances: np.ndarray, size: tuple[int, int]
    ) -> SequenceAnswer:
        """A mask or class map of samples of one form."""
        side = self.visual.side
        cells = slice(1, 1 + side**2)  # another answer of the batch may be longer
        codes = torch.from_numpy(tokens[:, cells]) - self.vocabulary.first("image")
        device = self.visual.codebook.device
        drawn = self.visual.decode(codes.reshape(-1, side, side).to(device))
        images = [restore_image(one, *size) for one in drawn]
        maps = [confidence_map(one[cells].reshape(side, side), *size) for one in chances]
        if task == "semantic":
            classes = np.stack([decode_classes(one, self.palette) for one in images])
            voted, agreeing = vote(classes, len(self.palette))
            sure = self._sure(np.mean(maps, axis=0), agreeing, len(tokens))
            shown = self.palette[voted]
            return SequenceAnswer(task, 1.0, float(sure.mean()), classes=voted, drawn=shown, confidence=sure)
        painted = [self._painted(image, int(row[0])) for image, row in zip(images, tokens, strict=True)]
        masks = [one > 0.5 for one in painted]
        best = most_agreeing(masks, mask_overlap)
        sure = self._sure(maps[best], np.mean(masks == masks[best], axis=0), len(tokens))
        return SequenceAnswer(
            task,
            float(np.mean([one.any() for one in masks])),
            float(sure[masks[best]].mean()) if masks[best].any() else 0.0,
            mask=masks[best],
            probability=np.stack(painted).mean(0),
            drawn=images[best],
            confidence=sure,
        )

    def _sure(self, chances: np.ndarray, agreeing: np.ndarray, samples: int) -> np.ndarray:
        """``float32[H, W]``: probability of the codes times the chance of being confirmed, calibrated."""
        product = chances * confirmed(agreeing, samples)
        config = self.config
        return with_temperature(product, config.calibration, config.calibration_shift).astype(np.float32)

    def _painted(self, image: np.ndarray, token: int) -> np.ndarray:
        """``float32[H, W]``, 0..1: place of each pixel between black and the colour of a token."""
        colour = np.array(COLOURS[COLOUR_NAMES[token - self.vocabulary.first("colour")]], np.float32)
        return np.clip(image.astype(np.float32) @ colour / (colour @ colour), 0, 1)
