"""Masks of your own, as a file and which object in it is meant.

=========  ==============================================  ==================================================
file       object                                          without an object
=========  ==============================================  ==================================================
``.png``   a pixel value (a palette index, a grey level)   every pixel that is not 0
LabelMe    a label                                         every shape
COCO       an annotation id                                every annotation of the picture
=========  ==============================================  ==================================================

A COCO file knows a picture by the end of its path: the name, and of pictures with the same name as many folders
as tell them apart. In a LabelMe file, what a label with ``ignore`` in it covers counts neither as right nor as
wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.dataset import DataError, Fault, read_json, require_file
from instructseg.data.reasonseg import draw_shapes
from instructseg.data.referring import Annotation, Picture, decode, to_annotation, to_picture
from instructseg.masks import load_index_png
from instructseg.media import load_image

_CIRCLE_POINTS = 72


@dataclass(frozen=True, slots=True)
class MaskRef:
    """An object in a file; ``None`` for the default of the table above."""

    file: Path
    object: str | None = None

    def __str__(self) -> str:
        return str(self.file) if self.object is None else f"{self.file}, object {self.object!r}"


@dataclass(frozen=True, slots=True, eq=False)
class CocoFile:
    """A COCO file: pictures and annotations by id, instructions by annotation id, and what joins them.

    ``by_name``: the pictures of a file name without folders. ``of_picture``: ids of a picture's annotations.
    """

    pictures: Mapping[int, Picture]
    annotations: Mapping[int, Annotation]
    instructions: Mapping[int, tuple[str, ...]]
    by_name: Mapping[str, list[Picture]]
    of_picture: Mapping[int, list[int]]


class MaskFiles:
    """Reads masks; every JSON file is parsed once and kept."""

    def __init__(self) -> None:
        self._json: dict[Path, CocoFile | dict[str, Any]] = {}

    def read(self, ref: MaskRef, image: Path, height: int, width: int) -> np.ndarray:
        """``uint8[h, w]``, 1 on the object, 255 where not to count.

        Args:
            ref: what to read.
            image: path of the picture, by whose end a COCO file knows it.
            height: of the picture, in pixels, for files that do not tell.
            width: likewise.

        Raises:
            FileNotFoundError: there is no such file.
            DataError: it cannot be decoded, is of an unknown kind, or has no such object.
        """
        if ref.file.suffix.lower() == ".png":
            return _png(ref)
        content = self.parsed(ref.file)
        if isinstance(content, CocoFile):
            return _coco(ref, content, image)
        return _labelme(ref, content, height, width)

    def parsed(self, file: Path) -> CocoFile | dict[str, Any]:
        """A COCO file in compact form, or a LabelMe file as it is. Raises as :meth:`read`."""
        if file not in self._json:
            self._json[file] = _parse(file)
        return self._json[file]

    def labels(self, file: Path) -> list[str]:
        """The different labels of a LabelMe file, but for what is to be ignored. Raises as :meth:`read`."""
        content = self.parsed(file)
        try:
            if isinstance(content, CocoFile):
                raise DataError(Fault.RECORD, file, "a COCO file, expected one of LabelMe")
            found = dict.fromkeys(str(shape["label"]) for shape in content["shapes"])
        except (KeyError, TypeError) as error:
            raise DataError(Fault.RECORD, file, f"not a LabelMe file (no {error})") from error
        return [label for label in found if "ignore" not in label.lower()]


def _parse(file: Path) -> CocoFile | dict[str, Any]:
    if file.suffix.lower() != ".json":
        raise DataError(Fault.MASK, file, "masks are read from .png files and COCO or LabelMe .json files")
    content = read_json(file, dict)
    if "shapes" in content:
        return dict(content)
    try:
        pictures = {entry["id"]: to_picture(entry) for entry in content["images"]}
        annotations = {entry["id"]: to_annotation(entry) for entry in content["annotations"]}
        names = {entry["id"]: entry["name"] for entry in content.get("categories", ())}
        said = {entry["id"]: _instructions(entry, names) for entry in content["annotations"]}
    except (KeyError, TypeError) as error:
        raise DataError(Fault.RECORD, file, f"neither a COCO nor a LabelMe file (no {error})") from error
    by_name: dict[str, list[Picture]] = {}
    for picture in pictures.values():
        by_name.setdefault(Path(picture.file_name).name, []).append(picture)
    of_picture: dict[int, list[int]] = {}
    for number, annotation in annotations.items():
        of_picture.setdefault(annotation.image_id, []).append(number)
    return CocoFile(pictures, annotations, said, by_name, of_picture)


def _instructions(entry: Mapping[str, Any], names: Mapping[int, str]) -> tuple[str, ...]:
    """What is said of an annotation: its ``instruction``, one or several, or else its category."""
    found = entry.get("instruction") or names.get(entry.get("category_id", -1)) or ()
    return (found,) if isinstance(found, str) else tuple(found)


def _png(ref: MaskRef) -> np.ndarray:
    require_file(ref.file)
    if ref.object is not None and not ref.object.isdigit():
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
        with Image.open(file) as picture:
            return picture.mode
    except UnidentifiedImageError:
        return ""


def _coco(ref: MaskRef, content: CocoFile, image: Path) -> np.ndarray:
    known = _pictures(ref, content, image)
    numbers = [number for picture in known for number in content.of_picture.get(picture.id, [])]
    if ref.object is not None:
        numbers = [number for number in numbers if str(number) == ref.object]
        if not numbers:
            names = " or ".join(picture.file_name for picture in known)
            raise DataError(Fault.ID, ref.file, f"there is no annotation {ref.object} of {names}")
        known = [content.pictures[content.annotations[numbers[0]].image_id]]
    if len(known) > 1:
        names = " and ".join(picture.file_name for picture in known)
        raise DataError(Fault.ID, ref.file, f"{image} may be {names}: name the annotation as its object")
    (picture,) = known
    mask = np.zeros((picture.height, picture.width), np.uint8)
    for number in numbers:
        mask |= decode(content.annotations[number], picture, f"{ref.file}, annotation {number}")
    return mask


def _pictures(ref: MaskRef, content: CocoFile, image: Path) -> list[Picture]:
    """Those whose file names have most in common with the end of a path; one, where they tell it."""
    named = content.by_name.get(image.name, [])
    if not named:
        raise DataError(Fault.ID, ref.file, f"there is no picture {image.name!r} in 'images'")
    shared = [_shared_end(Path(picture.file_name), image) for picture in named]
    return [picture for picture, parts in zip(named, shared, strict=True) if parts == max(shared)]


def _shared_end(one: Path, other: Path) -> int:
    """How many parts of two paths are the same, from the last on."""
    pairs = zip(reversed(one.parts), reversed(other.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _labelme(ref: MaskRef, content: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    try:
        size = (int(content.get("imageHeight") or height), int(content.get("imageWidth") or width))
        shapes = [(shape["label"], _outline(shape, ref.file)) for shape in content["shapes"]]
    except DataError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(Fault.RECORD, ref.file, f"not a LabelMe file ({error})") from error
    labels = {label for label, _ in shapes}
    if ref.object is not None and ref.object not in labels:
        raise DataError(
            Fault.ID, ref.file, f"no shape is labelled {ref.object!r}; there are {', '.join(labels)}"
        )
    chosen = tuple(
        (label.lower(), points)
        for label, points in shapes
        if ref.object in (None, label) or "ignore" in label.lower()
    )
    return draw_shapes(chosen, *size)


def _outline(shape: Mapping[str, Any], file: Path) -> np.ndarray:
    """``int32[n, 2]`` of x, y: a polygon, the corners of a rectangle, or points on a circle."""
    points = np.asarray(shape["points"], np.float64).reshape(-1, 2)
    kind = shape.get("shape_type") or "polygon"
    if not len(points):
        raise DataError(Fault.MASK, file, "a shape has no points")
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind == "circle":
        centre, rim = points
        angles = np.linspace(0, 2 * math.pi, _CIRCLE_POINTS, endpoint=False)
        points = centre + math.dist(centre, rim) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind != "polygon":
        name = json.dumps(kind)
        raise DataError(Fault.MASK, file, f"shape_type {name}: give a polygon, a rectangle or a circle")
    return points.astype(np.int32)
