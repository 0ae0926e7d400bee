"""A segmented video, kept by the page: its results at any threshold, without the model."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.files import parse_json
from instructseg.masks import mask_to_rle, rle_to_mask
from instructseg.media import VideoSource, VideoWriter
from instructseg.prediction import FrameResult, Prediction
from instructseg.serve.figure import svg_path


@dataclass(frozen=True)
class KeptObject:
    """One object of a video, or an instruction that none was found for.

    Attributes:
        name: for the visitor.
        place: of the instruction.
        number: of the object in the file of outlines; ``None`` for none.
        id: of the object, by which it has its colour.
    """

    name: str
    place: int
    number: int | None = None
    id: int = 0


class KeptVideo:
    """Masks of all frames, whatever their presence, in files: run lengths, outlines, and the plain frames.

    A threshold hides masks; the ids of several objects stay those of the run. The outlines have a line per
    frame, a list of ``[number of the object, presence, SVG path]``; frames of the plain video have even sides.

    Args:
        source: the video.
        prompts: its instructions.
        numbered: places of those whose objects have ids of their own.
        folder: for the files; deleted by its creator.
    """

    def __init__(self, source: Path, prompts: Sequence[str], numbered: Collection[int], folder: Path) -> None:
        self.source, self.prompts = source, tuple(prompts)
        self.file, self.outlines = folder / "masks.jsonl", folder / "outlines.jsonl"
        self.plain = folder / "frames.mp4"
        self.count = 0
        """Number of frames."""
        self.fps, self.size = 0.0, (0, 0)
        """Frames per second, and height and width in pixels."""
        self.remark = ""
        """What is wrong with the video, if anything is."""
        self._numbered = frozenset(numbered)
        self._objects: dict[tuple[int, int], int] = {}

    def keep(self, video: VideoSource, results: Iterable[FrameResult]) -> Iterator[FrameResult]:
        """Passes on the results of a video, predicted without a threshold, once they are kept."""
        self.fps, self.size = video.fps, video.size
        with VideoWriter(self.plain, video.fps, video.size, keep_partial=False) as frames:
            for result in results:
                self._add(result)
                frames.write(result.frame)
                yield result

    def _add(self, result: FrameResult) -> None:
        rows, outlines = [], []
        for one in result.predictions:
            rows.append([one.instruction_id, one.id, one.score, one.presence, mask_to_rle(one.mask)["counts"]])
            if path := svg_path(one.mask):
                number = self._objects.setdefault((one.instruction_id, one.id), len(self._objects))
                outlines.append([number, round(one.presence, 4), path])
        for place, values in ((self.file, [result.time, rows]), (self.outlines, outlines)):
            with place.open("a", encoding="ascii") as file:
                file.write(json.dumps(values) + "\n")
        self.count += 1

    @property
    def rows(self) -> list[KeptObject]:
        """The objects, and the instructions that none was found for, in the order of the instructions."""
        rows = []
        for place, prompt in enumerate(self.prompts):
            found = [(number, id_) for (one, id_), number in self._objects.items() if one == place]
            several = len(found) > 1
            rows += [
                KeptObject(f"{prompt} {count}" if several else prompt, place, number, id_)
                for count, (number, id_) in enumerate(found, 1)
            ] or [KeptObject(prompt, place)]
        return rows

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
