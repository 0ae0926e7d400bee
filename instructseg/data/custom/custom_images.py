"""Custom images with instructions and, for training and evaluation, masks.

A table, ``.csv``, ``.json`` (a list of objects) or ``.jsonl``, with paths relative to it::

    my_data/  instructions.csv
              images/park.jpg
              masks/park.png

    image,instruction,mask,object
    images/park.jpg,the dog on the left,masks/park.png,1       a pixel value of a PNG; empty: all that is not 0
    images/park.jpg,everything that barks,masks/park.png,1;2   several objects
    images/park.jpg,the ball,labels/park.json,ball             a label of a LabelMe file
    images/park.jpg,the tree,coco.json,17                      an annotation id of a COCO file
    images/park.jpg,the elephant,none,                         nothing in the image answers
    images/park.jpg,the bench,,                                the truth is unknown

Further columns: ``answer`` (text to be learned or compared), ``task`` (``res``, ``reason_seg`` or ``vqa``),
``name``, ``split``. Without a table:

- a COCO file whose annotations have an ``instruction``, a text or a list of texts; annotations without one are
  asked for by their category, all of an image at once;
- a folder of images with a LabelMe file beside each (``park.jpg``, ``park.json``), of which every label is an
  instruction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.custom.mask_files import CocoFile, MaskFiles, MaskRef
from instructseg.data.custom.tables import TRAIN, VAL, find_source, part_of, read_table, several
from instructseg.data.data_files import fit, missing_files, read_image
from instructseg.data.dataset import Dataset
from instructseg.data.records import DataError, Fault, Id, Problem, path_name
from instructseg.structures import Sample, Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
COLUMNS = ("image", "instruction", "mask", "object", "answer", "task", "name", "split")


@dataclass(frozen=True, slots=True)
class Row:
    """One instruction; ``masks`` is empty without a target and ``None`` without ground truth."""

    image: Path
    instruction: str
    masks: tuple[MaskRef, ...] | None
    where: str
    task: Task = Task.RES
    answer: str | None = None
    name: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


class CustomImages(Dataset):
    """Instructions on custom images.

    Args:
        source: a table, a COCO file, or a folder that holds ``instructions.*``, ``annotations.json`` or
            images with LabelMe files.
        split: the rows whose ``split`` says so; ``None`` for all. Where no row names a split, ``train`` and
            ``val`` are made by image (see :func:`~instructseg.data.custom.tables.part_of`), of the rows whose
            truth is known.

    Raises:
        FileNotFoundError: there is nothing to read.
        DataError: a row lacks something or has an unknown column; names the line.
    """

    def __init__(self, source: str | Path, split: str | None = None) -> None:
        self.source = find_source(Path(source))
        if not self.source.exists():
            raise FileNotFoundError(f"{source} is missing: give a table, a COCO file or a folder")
        self._files = MaskFiles()
        rows = self._read()
        self.rows = rows if split is None else self._part(rows, split)
        stem = self.source.parent.name if self.source.is_file() else self.source.name
        self.name = stem if split is None else f"{stem}/{split}"
        if not self.rows:
            message = f"no row of split {split!r}" if rows else "no instructions"
            raise DataError(Fault.RECORD, self.source, message)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        self.check_index(index)
        row = self.rows[index]
        pixels = read_image(row.image)
        return Sample(
            key_frame=pixels,
            instruction=row.instruction,
            task=row.task,
            masks=None if row.masks is None else self._masks(row.masks, row, pixels),
            answer=row.answer,
            explain=row.task is Task.REASON_SEG and row.answer is not None,
            name=row.name or f"{self.name}/{index}",
            meta={"file_name": str(row.image), **row.meta},
        )

    def image_key(self, index: int) -> str:
        """The path of the image."""
        return str(self.rows[index].image)

    def counts(self) -> dict[str, int]:
        """Numbers of instructions and images, with masks and without target."""
        return {
            "instructions": len(self.rows),
            "images": len({row.image for row in self.rows}),
            "with masks": sum(bool(row.masks) for row in self.rows),
            "without target": sum(row.masks == () for row in self.rows),
        }

    def inspect(self) -> Iterator[Problem]:
        """Missing images and mask files, and annotations without a segmentation."""
        yield from missing_files(dict.fromkeys(row.image for row in self.rows))
        refs = dict.fromkeys(ref for row in self.rows for ref in row.masks or ())
        yield from missing_files(dict.fromkeys(ref.file for ref in refs))
        yield from self._files.without_parts(refs)

    def sources(self) -> Iterator[Path]:
        """The table or COCO file, the images and the mask files; see :meth:`Dataset.sources`."""
        if self.source.is_file():
            yield self.source
        for row in self.rows:
            yield row.image
            yield from (ref.file for ref in row.masks or ())

    def _part(self, rows: Sequence[Row], split: str) -> list[Row]:
        """The rows of a split, given or generated."""
        if split not in (TRAIN, VAL) or any("split" in row.meta for row in rows):
            return [row for row in rows if row.meta.get("split") == split]
        folder = self.source.parent if self.source.is_file() else self.source
        names = {row.image: Path(os.path.relpath(row.image, folder)).as_posix() for row in rows}
        chosen = part_of(names.values(), split)
        known = [row for row in rows if row.masks is not None or not row.task.has_mask]
        return [row for row in known if names[row.image] in chosen]

    def _masks(self, refs: Sequence[MaskRef], row: Row, pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[:2]
        masks = np.zeros((len(refs), height, width), np.uint8)
        for mask, ref in zip(masks, refs, strict=True):
            found = self._files.read(ref, row.image, height, width)
            mask[:] = fit(found, pixels, f"{row.where}: {ref}")
        return masks

    def _read(self) -> list[Row]:
        if self.source.is_dir():
            return self._read_labelme()
        if self.source.suffix.lower() == ".json" and _is_object(self.source):
            return self._read_coco()  # a table is a list
        entries = read_table(self.source, COLUMNS, ("image", "instruction"))
        return [_row(entry, self.source.parent, where) for where, entry in entries]

    def _read_labelme(self) -> list[Row]:
        rows = []
        for image in sorted(path for path in self.source.iterdir() if path.suffix.lower() in SUFFIXES):
            file = image.with_suffix(".json")
            if not file.is_file():
                continue
            rows += [
                Row(image, label, (MaskRef(file, label),), str(file)) for label in self._files.labels(file)
            ]
        return rows

    def _read_coco(self) -> list[Row]:
        content = self._files.parsed(self.source)
        if not isinstance(content, CocoFile):
            raise DataError(Fault.RECORD, self.source, "a single LabelMe file: give its folder")
        said: dict[tuple[Id, str], list[Id]] = {}  # the same words in an image mean all of them
        for number, annotation in content.annotations.items():
            if annotation.image_id not in content.images:
                message = f"image_id {annotation.image_id} is not in 'images'"
                raise DataError(Fault.ID, f"{self.source}, annotation {number}", message)
            for text in content.instructions[number]:
                said.setdefault((annotation.image_id, text), []).append(number)
        rows = []
        for (image_id, text), numbers in said.items():
            image = _below(self.source.parent, content.images[image_id].file_name)
            refs = tuple(MaskRef(self.source, str(number)) for number in numbers)
            rows.append(Row(image, text, refs, f"{self.source}, image {image_id}"))
        return rows


def _is_object(file: Path) -> bool:
    """True if a JSON file starts with an object (COCO) rather than a list (table)."""
    with file.open("rb") as opened:
        start = opened.read(256)
    return start.decode(json.detect_encoding(start), "ignore").lstrip("\ufeff \t\r\n")[:1] == "{"


def _below(folder: Path, image: str) -> Path:
    """An image of a COCO file: beside it, or in ``images`` beside it."""
    return folder / "images" / image if not (folder / image).is_file() else folder / image


def _row(entry: Mapping[str, Any], folder: Path, where: str) -> Row:
    task = entry.get("task") or Task.RES.value
    if task not in (Task.RES.value, Task.REASON_SEG.value, Task.VQA.value):
        raise DataError(Fault.RECORD, where, f"task is res, reason_seg or vqa, got {task!r}")
    return Row(
        image=folder / path_name(entry["image"], where, "image"),
        instruction=entry["instruction"],
        masks=_refs(entry.get("mask"), entry.get("object"), folder, where),
        where=where,
        task=Task(task),
        answer=entry.get("answer") or None,
        name=entry.get("name") or "",
        meta={"split": entry["split"]} if entry.get("split") else {},
    )


def _refs(mask: Any, objects: Any, folder: Path, where: str) -> tuple[MaskRef, ...] | None:
    files = several(mask)
    if not files:
        return None
    if files == ["none"]:
        return ()
    names: list[str | None] = [*several(objects)] or [None]
    found = [folder / path_name(file, where, "mask") for file in files]
    return tuple(MaskRef(file, name) for file in found for name in names)


def open_for_masks(source: Path, split: str | None) -> CustomImages:
    """Opens data with instructions for masks only; raises ``DataError`` where some ask for text."""
    dataset = CustomImages(source, split or None)
    if any(row.task is Task.VQA for row in dataset.rows):
        message = "some rows ask for text (task vqa), whose answers are not scored: give them another split"
        raise DataError(Fault.RECORD, dataset.source, message)
    return dataset
