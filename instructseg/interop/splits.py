"""Every split of every data set under one name, for catalogs of other frameworks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from instructseg.data.catalog import ALIASES, CATALOG
from instructseg.data.catalog_row import CatalogRow, complete_options
from instructseg.data.dataset import Dataset, Sentences
from instructseg.data.referring_videos import ReferringVideos
from instructseg.interop.entries import Entry

METRICS: Mapping[str, str] = {
    "iou": "referring",
    "reasoning": "referring",
    "custom_masks": "referring",
    "generalized": "generalized",
    "zero_one_many": "generalized",
    **dict.fromkeys(("expressions", "typed_expressions", "long_term", "no_target"), "video"),
    "revos": "video",
    "davis": "video",
}
"""Metric of the catalog -> evaluator of :mod:`instructseg.interop.scores`."""


def places() -> dict[str, str]:
    """Data set -> default folder below one root of all."""
    return {name.replace("-", "_"): row.folder for name, row in CATALOG.items() if row.folder}


class WholeClips:
    """The expressions of videos, each on all frames.

    Args:
        videos: with all expressions, including those that are no samples for training.
    """

    def __init__(self, videos: ReferringVideos) -> None:
        self.videos = videos
        self._items = [(clip, said) for clip in videos.clips for said in clip.expressions]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Entry:
        """See :mod:`instructseg.interop.entries`; frames are read on access.

        Raises:
            FileNotFoundError: a mask or, where sizes are not recorded, the first frame is missing.
            DataError: a mask cannot be decoded, or does not fit the frames.
        """
        clip, said = self._items[index]
        height, width = clip.size
        entry: Entry = {
            "frames": clip.frames,
            "height": height,
            "width": width,
            "instruction": said.text,
            "task": self.videos.task.value,
            "name": f"{self.videos.name}/{clip.name}/{said.id}",
        }
        if clip.truth is not None:
            masks = (clip.mask(said, t) for t in range(len(clip)))
            entry["masks"] = np.stack([mask for mask in masks if mask is not None])
        return entry

    def image_key(self, index: int) -> str:
        """The name of the video."""
        return self._items[index][0].name


@dataclass(frozen=True)
class RegisteredSplit:
    """A split of a data set.

    Attributes:
        name: such as ``refcoco_val``.
        open: reads it; raises as the adapter does.
        metrics: ``referring``, ``generalized`` or ``video``; see :mod:`instructseg.interop.scores`.
    """

    name: str
    open: Callable[[], Dataset | WholeClips]
    metrics: str = "referring"


def splits(
    root: str | Path, folders: Mapping[str, str | Path] | None = None, sentences: Sentences = "joined"
) -> Iterator[RegisteredSplit]:
    """Every split; nothing is read.

    Videos have two: samples of a key frame for training and, with the suffix ``_clips``, the expressions on all
    frames for evaluation.

    Args:
        root: holds the data sets, each in its folder of :func:`places`.
        folders: other folders of some data sets, below the root or absolute.
        sentences: of RefCOCO: ``joined`` has all sentences of an object in one instruction, as released;
            ``each`` has them one by one.

    Raises:
        ValueError: ``folders`` has an unknown data set.
    """
    known = places()
    given = {ALIASES.get(name, name): folder for name, folder in (folders or {}).items()}
    if unknown := set(given) - set(known):
        raise ValueError(f"places: unknown data set {min(unknown)!r}; there are {', '.join(known)}")
    for name, row in CATALOG.items():
        if row.folder:
            label = name.replace("-", "_")
            yield from _splits(label, row, Path(root) / given.get(label, row.folder), sentences)


def _splits(label: str, row: CatalogRow, folder: Path, sentences: Sentences) -> Iterator[RegisteredSplit]:
    metrics = METRICS[row.evaluations[0].metric]
    asked = {"sentences": sentences} if "sentences" in (row.evaluations[0].options or {}) else {}
    options = complete_options(label, row.options, asked)
    for split in row.splits or (None,):
        if split is not None and split.startswith("converted/"):
            continue
        opener = partial(row.open, folder, split, options)
        for known in (label, *(old for old, new in ALIASES.items() if new == label)):
            name = known if split is None else row.public_name(split) if row.public_name else f"{known}_{split}"
            if metrics == "video":
                yield from _both(name, opener)
            else:
                yield RegisteredSplit(name, opener, metrics)


def _both(name: str, opener: Callable[[], Dataset]) -> Iterator[RegisteredSplit]:
    opened = cache(opener)  # the annotations are read once for both

    def whole() -> WholeClips:
        videos = opened()
        assert isinstance(videos, ReferringVideos)
        return WholeClips(videos)

    yield RegisteredSplit(name, opened)
    yield RegisteredSplit(f"{name}_clips", whole, "video")
