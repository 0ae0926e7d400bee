"""Photographs with masks from a COCO-shaped file.

::

    root/
      annotations.json     images, annotations, categories as COCO; RLE or polygons
      images/*.webp

Beside COCO's keys an image may have ``source``, ``split`` (``train``, ``val``) and ``complete``: ``all`` where
every object of the source's own categories is annotated, ``person`` where only persons are, ``some`` where what
is not annotated may still be there. An annotation may have ``kind``: ``instance`` is one object, ``region`` all
pixels of a category. Files without these keys are COCO's own: complete, of instances, but for crowds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from instructseg.files import read_json
from instructseg.masks import rle_to_mask
from instructseg.media import load_image

Complete = Literal["all", "person", "some"]


@dataclass(frozen=True)
class Region:
    """One annotated mask.

    Attributes:
        category: its name.
        single: whether it is one object; otherwise all pixels of the category.
        rle: at the photograph's size.
    """

    category: str
    single: bool
    rle: dict[str, Any]

    def mask(self) -> np.ndarray:
        """``bool[H, W]``."""
        return rle_to_mask(self.rle).astype(bool)


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


def read_photographs(root: Path, split: str, without: Collection[str] = ()) -> Photographs:
    """Reads the index of a folder; no image is opened.

    Args:
        root: see the head of this file.
        split: ``train`` or ``val``.
        without: sources that are left out.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the file is damaged, or nothing is left.
    """
    content = read_json(root / "annotations.json")
    try:
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        regions: dict[int, list[Region]] = defaultdict(list)
        for entry in content["annotations"]:
            single = entry.get("kind", "region" if entry.get("iscrowd") else "instance") == "instance"
            regions[entry["image_id"]].append(
                Region(names[entry["category_id"]], single, entry["segmentation"])
            )
        images: list[Photograph] = []
        categories: dict[str, set[str]] = defaultdict(set)
        for entry in content["images"]:
            source = entry.get("source", "coco")
            found = tuple(regions[entry["id"]])
            categories[source] |= {region.category for region in found}
            if entry.get("split", split) == split and source not in without and found:
                images.append(
                    Photograph(
                        root / "images" / entry["file_name"], source, entry.get("complete", "all"), found
                    )
                )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{root}/annotations.json is no COCO file: {error!r}") from error
    if not images:
        raise ValueError(f"{root}/annotations.json has no photographs of split '{split}'")
    return Photographs(tuple(images), {source: frozenset(kinds) for source, kinds in categories.items()})
