"""ReasonSeg: questions about images, answered by a region.

::

    <root>/train/  <name>.jpg  <name>.json          239 images
           val/    <name>.jpg  <name>.json          200
           test/   <name>.jpg  <name>.json          779
           explanatory/train.json                   answers in text for some images of train

An image's JSON, in UTF-8 or, where that fails, cp1252::

    {"text": ["what in this image ...?", ...], "is_sentence": true,
     "shapes": [{"label": "target", "points": [[x, y], ...]}, {"label": "ignore", ...}, {"label": "flag", ...}]}

An entry of ``explanatory/train.json``: ``{"image": "<name>.jpg", "query": "...", "outputs": "..."}``. The split
is the folder. ``text`` says the same thing in other words: evaluation reads the first, training draws one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instructseg import files
from instructseg.data.data_files import missing_files, read_image, read_json, require_file
from instructseg.data.dataset import Dataset, check_split
from instructseg.data.records import DataError, Fault, Problem, Record, file_kind, read_points
from instructseg.masks import whole_points
from instructseg.structures import IGNORE_PIXEL, Sample, Task

SPLITS = ("train", "val", "test")
PUBLISHED = {"train": {"images": 239}, "val": {"images": 200}, "test": {"images": 779}}
EXPLAINED = 0.5
"""Chance that training asks an image that has an explanation for it."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """JSON of an image: the wordings, and the shapes ``(label, int32[n, 2] of x, y)`` without flags."""

    texts: tuple[str, ...]
    is_sentence: bool
    shapes: tuple[tuple[str, np.ndarray], ...]


class ReasonSeg(Dataset):
    """One split, in the order of the names.

    Args:
        root: the folder that holds ``train``, ``val`` and ``test``.
        official_ignore_as_background: what is to be ignored becomes background, as in the released
            evaluation, so that predicting it counts as wrong. By default it is neither right nor wrong.

    Raises:
        FileNotFoundError: the folder, or the explanations of ``train``, are missing.
        DataError: a JSON is damaged.
        ValueError: there is no such split.
    """

    def __init__(
        self, root: str | Path, split: str = "val", official_ignore_as_background: bool = False
    ) -> None:
        check_split("ReasonSeg", split, SPLITS)
        root = Path(root)
        self.folder = root / split
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: the folder is missing")
        self.name, self.published = f"reasonseg/{split}", PUBLISHED[split]
        self.files = sorted(self.folder.glob("*.json"))
        self.records = [read_record(file) for file in self.files]
        found = _read_explanations(root) if split == "train" else []
        # of several on one image the last one is read, as in the official code
        self.explanations = dict(found)
        self._repeated = len(found) - len(self.explanations)
        self._ignore = 0 if official_ignore_as_background else IGNORE_PIXEL

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        self.check_index(index)
        record, image = self.records[index], self.files[index].with_suffix(".jpg")
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        if not all(len(points) for _, points in record.shapes):
            raise DataError(Fault.MASK, self.files[index], "a shape has no points")
        mask = draw_shapes(record.shapes, height, width, self._ignore)
        meta = {"file_name": image.name, "is_sentence": record.is_sentence, "texts": record.texts}
        return Sample(
            key_frame=pixels,
            instruction=record.texts[0],
            task=Task.REASON_SEG,
            masks=mask[None],
            answer=self.explanations.get(image.name),
            name=f"{self.name}/{image.stem}",
            meta=meta,
        )

    def draw(self, index: int, rng: np.random.Generator) -> Sample:
        """A random wording, with a request for an existing explanation half of the time."""
        sample, texts = self[index], self.records[index].texts
        text = texts[int(rng.integers(len(texts)))]
        explain = bool(rng.random() < EXPLAINED) and sample.answer is not None
        return replace(sample, instruction=text, explain=explain)

    def image_key(self, index: int) -> str:
        """The path of the image."""
        return str(self.files[index].with_suffix(".jpg"))

    def counts(self) -> dict[str, int]:
        """Images, wordings, images with an explanation, and explanations replaced by a later one."""
        counts = {"images": len(self.files), "texts": sum(len(record.texts) for record in self.records)}
        if self.explanations:
            counts["explanations"] = len(self.explanations)
        if self._repeated:
            counts["skipped: earlier explanations of an image"] = self._repeated
        return counts

    def inspect(self) -> Iterator[Problem]:
        """Images without JSON and vice versa, unmatched explanations, shapes outside the image."""
        yield from missing_files(file.with_suffix(".jpg") for file in self.files)
        yield from missing_files(image.with_suffix(".json") for image in sorted(self.folder.glob("*.jpg")))
        known = {file.with_suffix(".jpg").name for file in self.files}
        for name in sorted(set(self.explanations) - known):
            where = f"{self.folder.parent / 'explanatory' / 'train.json'}, image {name}"
            yield Problem(Fault.ID, where, f"there is no such image in {self.folder}")
        for file, record in zip(self.files, self.records, strict=True):
            if any(len(points) == 0 or points.min() < -1 for _, points in record.shapes):
                yield Problem(Fault.MASK, str(file), "a shape has no points, or some outside the image")


def read_record(file: Path) -> ImageRecord:
    """Reads the JSON of an image.

    Raises:
        DataError: it is neither UTF-8 nor cp1252, not JSON, or lacks something.
    """
    try:
        content = Record.of(files.parse_json(_text(require_file(file).read_bytes()), str(file)), file)
    except ValueError as error:
        reason = str(error).removeprefix(f"{file} ")
        raise DataError(Fault.RECORD, file, f"not a record of ReasonSeg ({reason})") from error
    with file_kind(file, "not a record of ReasonSeg"):
        shapes = tuple(
            (shape.text("label").lower(), whole_points(read_points(shape)))
            for shape in content.records("shapes")
            if shape.text("label").lower() != "flag"
        )
        texts = tuple(words.strip() for words in content.texts("text"))
        is_sentence = bool(content.get("is_sentence"))
    if not texts:
        raise DataError(Fault.RECORD, file, "it has no text")
    return ImageRecord(texts, is_sentence, shapes)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252")


def draw_shapes(
    shapes: tuple[tuple[str, np.ndarray], ...], height: int, width: int, ignore: int = IGNORE_PIXEL
) -> np.ndarray:
    """``uint8[height, width]``: 1 on targets, ``ignore`` where a label says so, 0 elsewhere.

    Shapes are painted from the largest to the smallest, outline and inside, so that a small one shows on a
    large one.
    """
    import cv2

    def paint(mask: np.ndarray, points: np.ndarray, value: int) -> np.ndarray:
        if not len(points):  # all of it was far outside
            return mask
        cv2.polylines(mask, [points], True, value, 1)
        return cv2.fillPoly(mask, [points], value)

    areas = [paint(np.zeros((height, width), np.uint8), points, 1).sum() for _, points in shapes]
    mask = np.zeros((height, width), np.uint8)
    # among equals the official order is the reverse of numpy's ascending sort
    for number in np.argsort(areas)[::-1]:
        label, points = shapes[number]
        paint(mask, points, ignore if "ignore" in label else 1)
    return mask


def _read_explanations(root: Path) -> list[tuple[str, str]]:
    """Name of the image and the answer in text, in the order of the file."""
    file = root / "explanatory" / "train.json"
    with file_kind(file, "not a list of explanations"):
        entries = [Record.of(entry, f"{file}, entry {i}") for i, entry in enumerate(read_json(file, list))]
        return [(entry.text("image"), entry.string("outputs")) for entry in entries]
