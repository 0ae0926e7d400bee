"""Referring expressions for COCO annotations, the base of RefCOCO and gRefCOCO.

A *ref* names an image, the annotations that are meant, and the sentences that say so. Images and
annotations are those of a COCO ``instances.json``, of which only what the refs need is kept, compactly.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from instructseg.data.data_files import fit, missing_files, read_image, read_json
from instructseg.data.dataset import Dataset, Sentences, check_sentences, locate
from instructseg.data.records import (
    DataError,
    Fault,
    Id,
    Problem,
    Record,
    by_id,
    fault,
    file_name,
    path_name,
    shown,
)
from instructseg.masks import draw_polygons_official, mask_size, numbers, segmentation_to_mask
from instructseg.structures import Sample, Task

_SLACK = 1.0  # pixels by which a polygon may leave its image


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An entry of ``images``; ``height`` and ``width`` in pixels."""

    id: Id
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """An entry of ``annotations``.

    ``segmentation``: a list of polygons ``float64[2n]``, x and y in turn, an RLE, or a list of RLEs; the union
    is the mask.
    """

    id: Id
    image_id: Id
    iscrowd: bool
    segmentation: Any


@dataclass(frozen=True, slots=True)
class Ref:
    """Sentences and their targets; without ``ann_ids`` there is no target in the image."""

    id: Id
    image_id: Id
    ann_ids: tuple[Id, ...]
    split: str
    sentences: tuple[str, ...]
    sent_ids: tuple[Id, ...]


Parsed = TypeVar("Parsed", CocoImage, Annotation)
_MARK = {CocoImage: "file_name", Annotation: "segmentation"}


@dataclass(frozen=True, eq=False)
class Instances:
    """The needed part of an ``instances.json``, by id."""

    file: Path
    images: Mapping[Id, CocoImage]
    annotations: Mapping[Id, Annotation]


def read_instances(path: Path, keep: Container[Id]) -> Instances:
    """Reads a COCO file without the annotations outside ``keep``; raises as :func:`.read_json`."""

    def compact(entry: dict[str, Any]) -> Any:
        if "segmentation" in entry:
            return to_annotation(record_of(path, entry, "annotation"), keep)
        return to_image(record_of(path, entry, "image")) if "file_name" in entry else entry

    content = Record.of(read_json(path, dict, compact), path)
    for name in ("images", "annotations"):
        if not isinstance(content.value.get(name), list):
            raise DataError(Fault.RECORD, path, f"not a COCO instances file: no {name!r}")
    return Instances(
        path,
        joinable(path, "image", content.list("images"), CocoImage),
        joinable(path, "annotation", [a for a in content.list("annotations") if a is not None], Annotation),
    )


def record_of(path: Path, entry: dict[str, Any], what: str) -> Record:
    """A record of a COCO file, named by its id."""
    return Record(entry, f"{path}, {what} {shown(entry.get('id'))}")


def joinable(path: Path, what: str, found: Iterable[Any], kind: type[Parsed]) -> dict[Id, Parsed]:
    """Images or annotations of a COCO file by id; raises :class:`DataError` where two share one."""
    places = []
    for number, entry in enumerate(found):
        where = f"{path}, {what}s[{number}]"
        if not isinstance(entry, kind):
            raise fault(where, f"it is no {what}: it lacks {_MARK[kind]!r}")
        places.append((entry.id, entry, where))
    return by_id(places, what, _same)


def _same(one: CocoImage | Annotation, other: CocoImage | Annotation) -> bool:
    if isinstance(one, CocoImage) or isinstance(other, CocoImage):
        return one == other
    return (one.image_id, one.iscrowd) == (other.image_id, other.iscrowd) and _plain(one) == _plain(other)


def _plain(annotation: Annotation) -> Any:
    """A comparable segmentation."""
    found = annotation.segmentation
    parts = [found] if isinstance(found, dict) else found
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in parts]


def to_image(entry: Record, anywhere: bool = False) -> CocoImage:
    """From a record of ``images``; ``anywhere`` allows paths outside the folder, for custom data."""
    name = entry.get("file_name")
    checked = path_name if anywhere else file_name
    return CocoImage(entry.id("id"), checked(name, entry.where, "file_name"), *entry.size())


def to_annotation(entry: Record, keep: Container[Id] | None = None) -> Annotation | None:
    """From a record of ``annotations``: polygons, a list of RLE dictionaries, or a single one.

    Args:
        keep: ids; of others nothing but the id is looked at, and ``None`` is returned.

    Raises:
        DataError: it lacks something, or its segmentation is none.
    """
    number = entry.id("id")
    if keep is not None and number not in keep:
        return None
    found = entry.get("segmentation")
    if not isinstance(found, dict | list):
        raise fault(entry.where, f"segmentation is neither polygons nor an RLE, but {shown(found)}", Fault.MASK)
    crowd = entry.value.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise fault(entry.where, f"iscrowd is 0 or 1, not {shown(crowd)}")
    packed: Any = found
    if isinstance(found, list):
        try:
            packed = [p if isinstance(p, dict) else numbers(p, f"polygon {i}") for i, p in enumerate(found)]
        except ValueError as error:
            raise fault(entry.where, str(error), Fault.MASK) from error
    return Annotation(number, entry.id("image_id"), bool(crowd), packed)


def decode(annotation: Annotation, image: CocoImage, where: str, official_polygons: bool = False) -> np.ndarray:
    """``uint8[H, W]``, 1 on the union of the annotation's parts; empty where it has none.

    Args:
        official_polygons: fills polygons as the released RefCOCO evaluation does.

    Raises:
        DataError: an RLE is of another size than the image, or something is damaged.
    """
    parts, size = annotation.segmentation, (image.height, image.width)
    drawn = isinstance(parts, list) and not any(isinstance(part, dict) for part in parts)
    try:
        if official_polygons and drawn:
            return draw_polygons_official(parts, *size).view(np.uint8)
        return segmentation_to_mask(parts, *size).view(np.uint8)
    except ValueError as error:
        raise DataError(Fault.MASK, where, str(error)) from error


class ReferringImages(Dataset):
    """Refs as samples.

    Args:
        name: of the part; samples are named ``<name>/<ref id>`` and, for ``each``, ``/<sentence id>``.
        sentences: one of :data:`Sentences`.
        official_polygons: fills polygons as the released RefCOCO evaluation does, points cut to whole pixels;
            by default as COCO does.
    """

    def __init__(
        self,
        name: str,
        refs: Sequence[Ref],
        instances: Instances,
        folder: Path,
        sentences: Sentences = "each",
        official_polygons: bool = False,
        published: Mapping[str, int] | None = None,
    ) -> None:
        check_sentences(sentences)
        self.name, self.refs, self.instances, self.folder = name, refs, instances, folder
        self.published = published or {}
        lengths = [1 if sentences == "joined" else len(ref.sentences) for ref in refs]
        self._official_polygons = official_polygons
        self._joined = sentences == "joined"
        self._ends = np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Sample:
        ref, sentence = self._locate(index)
        image = self._image(ref)
        pixels = read_image(self.folder / image.file_name)
        where = f"{self.instances.file}, ref {ref.id} on {image.file_name}"
        meta = {
            "ref_id": ref.id,
            "image_id": ref.image_id,
            "ann_ids": ref.ann_ids,
            "file_name": image.file_name,
            "sent_id": None if sentence is None else ref.sent_ids[sentence],
        }
        fit(np.broadcast_to(np.uint8(0), (image.height, image.width)), pixels, where)  # before it is drawn
        return Sample(
            key_frame=pixels,
            # what reads the instruction puts a full stop behind it
            instruction=". ".join(ref.sentences) if sentence is None else ref.sentences[sentence],
            task=Task.RES,
            masks=self._masks(ref, image),
            name=f"{self.name}/{ref.id}" + ("" if sentence is None else f"/{ref.sent_ids[sentence]}"),
            meta=meta,
        )

    def image_key(self, index: int) -> str:
        """The path of the image."""
        return str(self.folder / self._image(self._locate(index)[0]).file_name)

    def counts(self) -> dict[str, int]:
        """Refs, sentences and images."""
        return {
            "refs": len(self.refs),
            "sentences": sum(len(ref.sentences) for ref in self.refs),
            "images": len({ref.image_id for ref in self.refs}),
        }

    def inspect(self) -> Iterator[Problem]:
        """Missing images, unmatched ids, segmentations outside their image."""
        images, file = self.instances.images, self.instances.file
        used = {ref.image_id: images[ref.image_id] for ref in self.refs if ref.image_id in images}
        yield from missing_files(self.folder / image.file_name for image in used.values())
        for ref in self.refs:
            if ref.image_id not in images:
                yield Problem(Fault.ID, f"{file}, ref {ref.id}", f"image_id {ref.image_id} is not in 'images'")
                continue
            for number in ref.ann_ids:
                found = self.instances.annotations.get(number)
                if found is None or found.image_id != ref.image_id:
                    yield _not_joined(file, ref, number, found)
                elif message := _misfit(found, images[ref.image_id]):
                    yield Problem(Fault.MASK, f"{file}, annotation {number}", message)

    def _locate(self, index: int) -> tuple[Ref, int | None]:
        """The ref of a sample and the place of its sentence; ``None`` for all sentences."""
        self.check_index(index)
        number, sentence = locate(self._ends, index)
        return self.refs[number], None if self._joined else sentence

    def _image(self, ref: Ref) -> CocoImage:
        if ref.image_id not in self.instances.images:
            where = f"{self.instances.file}, ref {ref.id}"
            raise DataError(Fault.ID, where, f"image_id {ref.image_id} is not in 'images'")
        return self.instances.images[ref.image_id]

    def _masks(self, ref: Ref, image: CocoImage) -> np.ndarray:
        """``uint8[N, H, W]``, a mask per target annotation; crowds among several are left out."""
        file, masks = self.instances.file, []
        for number in ref.ann_ids:
            found = self.instances.annotations.get(number)
            if found is None or found.image_id != ref.image_id:
                problem = _not_joined(file, ref, number, found)
                raise DataError(problem.fault, problem.where, problem.message)
            if not found.iscrowd or len(ref.ann_ids) == 1:
                where = f"{file}, annotation {number}"
                masks.append(decode(found, image, where, self._official_polygons))
        return np.stack(masks) if masks else np.zeros((0, image.height, image.width), np.uint8)


def _not_joined(file: Path, ref: Ref, number: Id, found: Annotation | None) -> Problem:
    message = f"ann_id {number} is not in 'annotations'"
    if found is not None:
        message = f"ann_id {number} belongs to image {found.image_id}, not to {ref.image_id}"
    return Problem(Fault.ID, f"{file}, ref {ref.id}", message)


def _misfit(annotation: Annotation, image: CocoImage) -> str | None:
    """Reason why a segmentation does not fit its image, from its numbers alone."""
    size = (image.width, image.height)
    named = f"{image.file_name}, {image.height} x {image.width} (height x width)"
    parts = annotation.segmentation
    for part in [parts] if isinstance(parts, dict) else parts:
        if isinstance(part, dict):
            try:
                height, width = mask_size(part.get("size"))
            except ValueError as error:
                return str(error)
            if (width, height) != size:
                return f"an RLE of {height} x {width} on {named}"
        elif len(part) < 6 or len(part) % 2:
            return f"a polygon of {len(part)} numbers"
        elif part.min() < -_SLACK or (part.reshape(-1, 2).max(axis=0) > np.add(size, _SLACK)).any():
            return f"a polygon leaves {named}"
    return None
