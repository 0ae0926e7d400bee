"""Custom masks: a file and the target object in it.

=========  ==============================================  ==================================================
file       object                                          without an object
=========  ==============================================  ==================================================
``.png``   a pixel value (a palette index, a grey level)   every pixel that is not 0
LabelMe    a label                                         every shape
COCO       an annotation id                                every annotation of the image
=========  ==============================================  ==================================================

A COCO file knows an image by the end of its path: the name, and of images with the same name as many folders
as tell them apart. In a LabelMe file, what a label with ``ignore`` in it covers counts neither as right nor as
wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from instructseg.data.coco_refs import (
    Annotation,
    CocoImage,
    decode,
    joinable,
    record_of,
    to_annotation,
    to_image,
)
from instructseg.data.data_files import read_json, require_file
from instructseg.data.datasets.reasonseg import draw_shapes
from instructseg.data.records import (
    DataError,
    Fault,
    Id,
    Problem,
    Record,
    by_id,
    file_kind,
    read_points,
    text,
)
from instructseg.masks import load_index_png, whole_points
from instructseg.media import load_image

_CIRCLE_POINTS = 72
_CORNERS = {"polygon": range(3, 1 << 30), "rectangle": (2, 4), "circle": (2,)}
"""Shape -> how many points a LabelMe file may give of it."""
NOTHING = "its segmentation is empty: draw one, or leave the annotation out"
BLANK = "it covers no pixel of the image: draw it again, or leave it out"


@dataclass(frozen=True, slots=True)
class MaskRef:
    """An object in a file; ``None`` for the default of the table above."""

    file: Path
    object: str | None = None

    def __str__(self) -> str:
        return str(self.file) if self.object is None else f"{self.file}, object {self.object!r}"


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """A COCO file: images and annotations by id, and instructions by annotation id.

    ``by_name``: the images of a file name without folders. ``of_image``: ids of an image's annotations.
    """

    images: Mapping[Id, CocoImage]
    annotations: Mapping[Id, Annotation]
    instructions: Mapping[Id, tuple[str, ...]]
    by_name: Mapping[str, list[CocoImage]]
    of_image: Mapping[Id, list[Id]]


class MaskFiles:
    """Reads masks, with a cache of parsed JSON files."""

    def __init__(self) -> None:
        self._json: dict[Path, CocoFile | Record] = {}

    def read(self, ref: MaskRef, image: Path, height: int, width: int) -> np.ndarray:
        """``uint8[h, w]``, 1 on the object, 255 to ignore.

        Args:
            image: path of the image, by whose end a COCO file knows it.
            height: of the image, in pixels, for files without it.
            width: likewise.

        Raises:
            FileNotFoundError: there is no such file.
            DataError: it cannot be decoded, is of an unknown kind, or has no such object.
        """
        if ref.file.suffix.lower() == ".png":
            return _png(ref)
        content = self.parsed(ref.file)
        if isinstance(content, CocoFile):
            return _coco(ref, content, image, height, width)
        return _labelme(ref, content, height, width)

    def parsed(self, file: Path) -> CocoFile | Record:
        """A COCO file in compact form, or a LabelMe file as it is. Raises as :meth:`read`."""
        if file not in self._json:
            self._json[file] = _parse(file)
        return self._json[file]

    def labels(self, file: Path) -> list[str]:
        """The labels of a LabelMe file, without ignored ones. Raises as :meth:`read`."""
        content = self.parsed(file)
        if isinstance(content, CocoFile):
            raise DataError(Fault.RECORD, file, "a COCO file, expected one of LabelMe")
        with file_kind(file, "not a LabelMe file"):
            found = dict.fromkeys(shape.text("label") for shape in content.records("shapes"))
        return [label for label in found if "ignore" not in label.lower()]

    def without_parts(self, refs: Iterable[MaskRef]) -> Iterator[Problem]:
        """Annotations without a segmentation in the COCO files parsed so far."""
        blank = {
            (file, str(number))
            for file, content in self._json.items()
            if isinstance(content, CocoFile)
            for number, annotation in content.annotations.items()
            if not len(annotation.segmentation)
        }
        for ref in refs:
            if (ref.file, ref.object) in blank:
                yield Problem(Fault.MASK, f"{ref.file}, annotation {ref.object}", NOTHING)


def _parse(file: Path) -> CocoFile | Record:
    if file.suffix.lower() != ".json":
        raise DataError(Fault.MASK, file, "masks are read from .png files and COCO or LabelMe .json files")
    content = Record.of(read_json(file, dict), file)
    if content.has("shapes"):
        return content
    if not all(isinstance(content.value.get(name), list) for name in ("images", "annotations")):
        raise DataError(
            Fault.RECORD, file, "neither a COCO file (no 'images' and 'annotations') nor a LabelMe file"
        )
    entries = [named(file, "annotation", entry) for entry in content.records("annotations")]
    images = [to_image(named(file, "image", entry), anywhere=True) for entry in content.records("images")]
    annotations = joinable(file, "annotation", [to_annotation(entry) for entry in entries], Annotation)
    names = read_categories(file, content)
    said = {entry.id("id"): instructions(entry, names) for entry in entries}
    by_id(((entry.id("id"), entry.value, entry.where) for entry in entries), "annotation")  # its words, too
    # an object is named by a text
    by_id(((str(number), number, f"{file}, annotation {number!r}") for number in annotations), "annotation")
    by_name: dict[str, list[CocoImage]] = {}
    known = joinable(file, "image", images, CocoImage)
    for coco_image in known.values():
        by_name.setdefault(Path(coco_image.file_name).name, []).append(coco_image)
    of_image: dict[Id, list[Id]] = {}
    for number, annotation in annotations.items():
        of_image.setdefault(annotation.image_id, []).append(number)
    return CocoFile(known, annotations, said, by_name, of_image)


def named(file: Path, what: str, entry: Record) -> Record:
    """A record, named by its id if present."""
    return record_of(file, dict(entry.value), what) if entry.has("id") else entry


def read_categories(file: Path, content: Record) -> dict[Id, str]:
    """Names of the ``categories`` of a COCO or YTVIS file by id.

    Raises:
        DataError: one lacks something, or two have one id.
    """
    if not content.has("categories"):
        return {}
    entries = [named(file, "category", entry) for entry in content.records("categories")]
    return by_id(((entry.id("id"), entry.text("name"), entry.where) for entry in entries), "category")


def instructions(entry: Record, names: Mapping[Id, str]) -> tuple[str, ...]:
    """Instructions of an annotation, or else its category.

    Raises:
        DataError: the instruction is no text, or there is no such category.
    """
    found = entry.value.get("instruction")
    if found not in (None, "", []):
        given = found if isinstance(found, list) else [found]
        return tuple(dict.fromkeys(text(words, entry.where, "instruction") for words in given))
    if not entry.has("category_id"):
        return ()
    number = entry.id("category_id")
    if names and number not in names:
        raise DataError(Fault.ID, entry.where, f"category_id {number} is not in 'categories'")
    return (names[number],) if names else ()


def _png(ref: MaskRef) -> np.ndarray:
    require_file(ref.file)
    if ref.object is not None and not (ref.object.isdecimal() and len(ref.object) < 6):
        raise DataError(Fault.MASK, ref.file, f"the object of a PNG is a pixel value, got {ref.object!r}")
    try:
        coloured = ref.object is None and _mode(ref.file) == "RGB"
        values = load_image(ref.file).max(-1) if coloured else load_index_png(ref.file)
    except ValueError as error:
        raise DataError(Fault.MASK, ref.file, str(error).removeprefix(f"{ref.file} ")) from error
    chosen: np.ndarray = values != 0 if ref.object is None else values == int(ref.object)
    if not chosen.any():
        there = ", ".join(str(value) for value in np.unique(values[values > 0])[:10])
        asked = f"no pixel is {ref.object}; there are {there or 'none above 0'}"
        blank = "all pixels are 0: write 'none' where nothing answers"
        raise DataError(Fault.MASK, ref.file, blank if ref.object is None else asked)
    return chosen.view(np.uint8)


def _mode(file: Path) -> str:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as opened:
            return opened.mode
    except UnidentifiedImageError:
        return ""


def _coco(ref: MaskRef, content: CocoFile, image: Path, height: int, width: int) -> np.ndarray:
    known = _images(ref, content, image)
    chosen = [number for coco_image in known for number in content.of_image.get(coco_image.id, [])]
    if ref.object is not None:
        chosen = [number for number in chosen if str(number) == ref.object]
        if not chosen:
            names = " or ".join(coco_image.file_name for coco_image in known)
            raise DataError(Fault.ID, ref.file, f"there is no annotation {ref.object} of {names}")
        known = [content.images[content.annotations[chosen[0]].image_id]]
    if len(known) > 1:
        names = " and ".join(coco_image.file_name for coco_image in known)
        raise DataError(Fault.ID, ref.file, f"{image} may be {names}: name the annotation as its object")
    (coco_image,) = known
    if (coco_image.height, coco_image.width) != (height, width):
        return misfit(coco_image.height, coco_image.width)
    mask = np.zeros((height, width), np.uint8)
    for number in chosen:
        where = f"{ref.file}, annotation {number}"
        if not len(content.annotations[number].segmentation):
            raise DataError(Fault.MASK, where, NOTHING)
        mask |= decode(content.annotations[number], coco_image, where)
    if chosen and not mask.any():
        raise DataError(Fault.MASK, f"{ref.file}, annotation {chosen[0]}", BLANK)
    return mask


def misfit(height: int, width: int) -> np.ndarray:
    """A placeholder mask of the recorded size, for the error message; uses no memory."""
    return np.broadcast_to(np.uint8(0), (height, width))


def _images(ref: MaskRef, content: CocoFile, image: Path) -> list[CocoImage]:
    """Images with the longest common path suffix; one if unambiguous."""
    named = content.by_name.get(image.name, [])
    if not named:
        raise DataError(Fault.ID, ref.file, f"there is no image {image.name!r} in 'images'")
    shared = [_shared_end(Path(coco_image.file_name), image) for coco_image in named]
    return [coco_image for coco_image, parts in zip(named, shared, strict=True) if parts == max(shared)]


def _shared_end(one: Path, other: Path) -> int:
    """Length of the common suffix of two paths, in parts."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _labelme(ref: MaskRef, content: Record, height: int, width: int) -> np.ndarray:
    with file_kind(ref.file, "not a LabelMe file"):
        if content.has("imageHeight") and content.has("imageWidth"):
            size = content.size("imageHeight", "imageWidth")
            if size != (height, width):
                return misfit(*size)
        shapes = [(shape.text("label"), _outline(ref.file, shape)) for shape in content.records("shapes")]
    labels = dict.fromkeys(label for label, _ in shapes)
    if ref.object is not None and ref.object not in labels:
        raise DataError(
            Fault.ID, ref.file, f"no shape is labelled {ref.object!r}; there are {', '.join(labels)}"
        )
    chosen = tuple(
        (label.lower(), points)
        for label, points in shapes
        if ref.object in (None, label) or "ignore" in label.lower()
    )
    mask = draw_shapes(chosen, height, width)
    if not mask.any():
        raise DataError(Fault.MASK, ref.file, f"{ref.object or 'its shapes'!r}: {BLANK}")
    return mask


def _outline(file: Path, shape: Record) -> np.ndarray:
    """``int32[n, 2]`` of x, y: a polygon, the corners of a rectangle, or points on a circle."""
    kind = shape.text("shape_type") if shape.has("shape_type") else "polygon"
    if not shape.list("points"):
        raise DataError(Fault.MASK, file, f"a shape has no points ({shape.where.rpartition(', ')[2]})")
    points = read_points(shape)
    if kind not in _CORNERS:
        name = json.dumps(kind)
        raise DataError(Fault.MASK, file, f"shape_type {name}: give a polygon, a rectangle or a circle")
    # what is to be ignored may be less than an area
    if len(points) not in _CORNERS[kind] and not (
        kind == "polygon" and "ignore" in shape.text("label").lower()
    ):
        wanted = "at least 3" if kind == "polygon" else " or ".join(map(str, _CORNERS[kind]))
        raise DataError(Fault.MASK, shape.where, f"a {kind} has {wanted} points, not {len(points)}")
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind == "circle":
        centre, rim = points
        angles = np.linspace(0, 2 * math.pi, _CIRCLE_POINTS, endpoint=False)
        points = centre + math.dist(centre, rim) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return whole_points(points)
