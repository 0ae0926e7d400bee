"""Photographs with masks from a COCO-shaped file.

::

    root/
      annotations.json     images, annotations, categories as COCO; RLE or polygons
      images/*.webp

Beside COCO's keys an image may have ``source``, ``split`` (``train``, ``val``) and ``complete``: ``all`` where
every object of the source's own categories is annotated, ``person`` where only persons are, ``some`` where what
is not annotated may still be there. An annotation may have ``kind``: ``instance`` is one object, ``region`` all
pixels of a category. Files without these keys are COCO's own: complete, of instances, but for crowds.
Expressions of people, as of RefCOCO, join the annotations that they are for by number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from instructseg.data.datasets.refcoco import in_split, read_refs
from instructseg.files import read_json
from instructseg.masks import segmentation_to_mask
from instructseg.media import load_image

Complete = Literal["all", "person", "some"]


@dataclass(frozen=True)
class PhotographFiles:
    """Where photographs and what is known of them are.

    Attributes:
        annotations: the COCO-shaped file.
        images: the folder of its images.
        expressions: files ``refs(*).p`` of RefCOCO; photographs that these hold out for evaluation are left out
            of training.
    """

    annotations: Path
    images: Path
    expressions: tuple[Path, ...] = ()

    @classmethod
    def of(cls, root: Path) -> PhotographFiles:
        """Those of a folder, see the head of this file."""
        return cls(root / "annotations.json", root / "images")


@dataclass(frozen=True, eq=False)
class Region:
    """One annotated mask.

    Attributes:
        category: its name.
        single: whether it is one object; otherwise all pixels of the category.
        segmentation: polygons or run lengths, as of COCO.
        size: height and width of the photograph.
        said: expressions of people for it.
    """

    category: str
    single: bool
    segmentation: Any
    size: tuple[int, int]
    said: tuple[str, ...] = ()

    def mask(self) -> np.ndarray:
        """``bool[H, W]``."""
        return segmentation_to_mask(self.segmentation, *self.size).astype(bool)


@dataclass(frozen=True)
class Photograph:
    """One image and all that is known of it.

    Attributes:
        file: the image.
        source: the set that it comes from.
        complete: which categories are annotated wherever they occur.
        regions: the masks.
    """

    file: Path
    source: str
    complete: Complete
    regions: tuple[Region, ...]

    def pixels(self) -> np.ndarray:
        """``uint8[H, W, 3]``."""
        return load_image(self.file)


@dataclass(frozen=True)
class Photographs:
    """The photographs of a split.

    Attributes:
        images: in the order of the file.
        categories: by source, the names that its annotators looked for.
    """

    images: tuple[Photograph, ...]
    categories: dict[str, frozenset[str]]

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[Photograph]:
        return iter(self.images)

    @cached_property
    def by_source(self) -> dict[str, list[int]]:
        """Numbers of the photographs of each source."""
        places: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(self.images):
            places[one.source].append(number)
        return places

    def covered(self, photograph: Photograph) -> frozenset[str]:
        """Categories that are annotated in it wherever they occur."""
        if photograph.complete == "all":
            return self.categories[photograph.source]
        return frozenset({"person"}) if photograph.complete == "person" else frozenset()

    def absent(self, photograph: Photograph) -> frozenset[str]:
        """Categories that are surely not in it."""
        return self.covered(photograph) - {region.category for region in photograph.regions}


def read_photographs(files: Path | PhotographFiles, split: str, without: Collection[str] = ()) -> Photographs:
    """Reads the index of photographs; no image is opened.

    Args:
        files: of a folder, or one by one.
        split: ``train`` or ``val``.
        without: sources that are left out.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or nothing is left.
    """
    files = PhotographFiles.of(files) if isinstance(files, Path) else files
    content = read_json(files.annotations)
    said, held_out = _expressions(files.expressions)
    try:
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        sizes = {entry["id"]: (int(entry["height"]), int(entry["width"])) for entry in content["images"]}
        regions: dict[int, list[Region]] = defaultdict(list)
        for entry in content["annotations"]:
            single = entry.get("kind", "region" if entry.get("iscrowd") else "instance") == "instance"
            category, size = names[entry["category_id"]], sizes[entry["image_id"]]
            spoken = tuple(said[entry["id"]]) if "id" in entry else ()
            regions[entry["image_id"]].append(Region(category, single, entry["segmentation"], size, spoken))
        images: list[Photograph] = []
        categories: dict[str, set[str]] = defaultdict(set)
        for entry in content["images"]:
            source = entry.get("source", "coco")
            found = tuple(regions[entry["id"]])
            categories[source] |= {region.category for region in found}
            wanted = entry.get("split", split) == split and not (split == "train" and entry["id"] in held_out)
            if wanted and source not in without and found:
                file = files.images / entry["file_name"]
                images.append(Photograph(file, source, entry.get("complete", "all"), found))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{files.annotations} is no COCO file: {error!r}") from error
    if not images:
        raise ValueError(f"{files.annotations} has no photographs of split '{split}'")
    return Photographs(tuple(images), {source: frozenset(kinds) for source, kinds in categories.items()})


def _expressions(files: Collection[Path]) -> tuple[dict[Any, list[str]], set[Any]]:
    """By annotation, what people said of it; and the images that are held out."""
    said: dict[Any, list[str]] = defaultdict(list)
    held_out = set()
    for ref in (ref for file in files for ref in read_refs(file)):
        if not in_split(ref.split, "train"):
            held_out.add(ref.image_id)
        elif len(ref.ann_ids) == 1:
            said[ref.ann_ids[0]] += ref.sentences
    return said, held_out
