"""A segmented video, kept by the page: its results at any threshold, without the model."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.files import parse_json
from instructseg.masks import mask_to_rle, rle_to_mask
from instructseg.prediction import FrameResult, Prediction


class KeptVideo:
    """Masks of all frames, whatever their presence: run lengths in a file, presences in memory.

    A threshold hides masks; the ids of several objects stay those of the run.

    Args:
        source: the video.
        prompts: its instructions.
        numbered: places of those whose objects have ids of their own.
        file: of the run lengths, a line per frame; deleted by its creator.
    """

    def __init__(self, source: Path, prompts: Sequence[str], numbered: Collection[int], file: Path) -> None:
        self.source, self.prompts, self.file = source, tuple(prompts), file
        self.count = 0
        """Number of frames."""
        self.remark = ""
        """What is wrong with the video, if anything is."""
        self._numbered = frozenset(numbered)
        self._presences: list[list[float]] = [[] for _ in prompts]

    def add(self, result: FrameResult) -> None:
        """Keeps the next frame, predicted without a threshold."""
        rows = [
            [one.instruction_id, one.id, one.score, one.presence, mask_to_rle(one.mask)["counts"]]
            for one in result.predictions
        ]
        with self.file.open("a", encoding="ascii") as file:
            file.write(json.dumps([result.time, rows]) + "\n")
        for place, seen in enumerate(self._presences):
            seen += [max(one.presence for one in result.of(place))] if _any(result.of(place)) else []
        self.count += 1

    def found(self, threshold: float) -> list[int]:
        """By instruction, the number of frames with a mask of at least this presence (0..1)."""
        return [sum(one >= threshold for one in seen) for seen in self._presences]

    def results(self, frames: Iterable[np.ndarray]) -> Iterator[FrameResult]:
        """The results again, without a threshold.

        Args:
            frames: of the video, ``uint8[H, W, 3]`` each.

        Raises:
            ValueError: the file was deleted.
        """
        try:
            with self.file.open(encoding="ascii") as lines:
                for index, (line, frame) in enumerate(zip(lines, frames, strict=False)):
                    time, rows = parse_json(line, f"{self.file}: line {index + 1}")
                    found = [self._prediction(row, frame) for row in rows]
                    yield FrameResult(index, frame, found, time)
        except FileNotFoundError:
            raise ValueError("the masks of this video are no longer kept: segment it again") from None

    def hide(self, result: FrameResult, threshold: float) -> FrameResult:
        """A frame with the masks of at least this presence; where there is none, one empty mask."""
        shown = list[Prediction]()
        for place, some in groupby(result.predictions, lambda one: one.instruction_id):
            found = list(some)
            kept = [one for one in found if one.presence >= threshold]
            number = 0 if place in self._numbered else found[0].id
            empty = replace(found[0], mask=np.zeros_like(found[0].mask), id=number)
            shown += kept or [empty]
        return replace(result, predictions=shown)

    def _prediction(self, row: list[Any], frame: np.ndarray) -> Prediction:
        place, number, score, presence, counts = row
        mask = rle_to_mask({"size": frame.shape[:2], "counts": counts})
        return Prediction(mask, score, presence, self.prompts[place], id=number, instruction_id=place)


def _any(found: Sequence[Prediction]) -> bool:
    return any(one.found for one in found)
