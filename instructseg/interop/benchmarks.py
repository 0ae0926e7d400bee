"""Every split of every data set by one name, and how to open it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from instructseg.data.coco_refs import Sentences
from instructseg.data.custom.custom_images import CustomImages
from instructseg.data.custom.custom_videos import CustomVideos
from instructseg.data.dataset import Dataset
from instructseg.data.datasets import grefcoco, mevis, reasonseg, refcoco
from instructseg.data.datasets.refdavis import RefDavis
from instructseg.data.datasets.refytvos import RefYtVos
from instructseg.data.datasets.revos import ReVos
from instructseg.data.referring_videos import ReferringVideos
from instructseg.interop.entries import Entry

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "refcoco": "refer_seg",
        "grefcoco": "grefer_seg",
        "reasonseg": "ReasonSeg",
        "refytvos": "ref-youtube-vos",
        "refdavis": "ref-davis",
        "revos": "ReVOS",
        "mevis": "mevis",
        "own_images": "own-images",
        "own_videos": "own-videos",
    }
)
"""Data set -> its folder below the root of all."""


class WholeClips:
    """The expressions of videos, each on all frames of its clip.

    Args:
        videos: whose expressions, whether they are samples for training or not.
    """

    def __init__(self, videos: ReferringVideos) -> None:
        self.videos = videos
        self._items = [(clip, said) for clip in videos.clips for said in clip.expressions]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Entry:
        """See :mod:`instructseg.interop.entries`; a frame is read when it is looked at.

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

    def picture(self, index: int) -> str:
        """Names the clip."""
        return self._items[index][0].name


@dataclass(frozen=True)
class Split:
    """A part of a data set.

    Attributes:
        name: such as ``refcoco_val``.
        open: reads it; raises as the adapter does.
        metrics: ``referring``, ``generalized`` or ``video``; see :mod:`instructseg.interop.scores`.
    """

    name: str
    open: Callable[[], Dataset | WholeClips]
    metrics: str = "referring"


def splits(
    root: str | Path, places: Mapping[str, str | Path] | None = None, sentences: Sentences = "joined"
) -> Iterator[Split]:
    """Every split; nothing is read.

    Of videos there are two: samples of a key frame, to train on, and with ``_clips`` behind the name the
    expressions on all frames, to be evaluated.

    Args:
        root: holds the data sets, each in its folder of :data:`PLACES`.
        places: other folders for some, below the root or absolute.
        sentences: of RefCOCO: ``joined`` has all sentences of an object in one instruction, as released;
            ``each`` has them one by one.

    Raises:
        ValueError: ``places`` has an unknown data set.
    """
    if unknown := set(places or {}) - set(PLACES):
        raise ValueError(f"places: unknown data set {min(unknown)!r}; there are {', '.join(PLACES)}")
    folders = {name: Path(root) / place for name, place in {**PLACES, **(places or {})}.items()}
    yield from _images(folders, sentences)
    yield from _videos(folders)


def _images(folders: Mapping[str, Path], sentences: Sentences) -> Iterator[Split]:
    for (name, by), parts in refcoco.SPLITS.items():
        whole = name if by == refcoco.default_split_by(name) else f"{name}_{by}"
        for part in parts:
            opener = partial(refcoco.RefCoco.open, folders["refcoco"], name, part, by, sentences)
            yield Split(f"{whole}_{part}", opener)
    for part in grefcoco.SPLITS:
        yield Split(
            f"grefcoco_{part}", partial(grefcoco.GRefCoco.open, folders["grefcoco"], part), "generalized"
        )
    for part in reasonseg.SPLITS:
        yield Split(f"reasonseg_{part}", partial(reasonseg.ReasonSeg, folders["reasonseg"], part))
    yield Split("own_images", partial(CustomImages, folders["own_images"]))


def _videos(folders: Mapping[str, Path]) -> Iterator[Split]:
    openers: dict[str, tuple[Callable[..., ReferringVideos], tuple[str, ...]]] = {
        "refytvos": (RefYtVos.open, ("train", "valid")),
        "refdavis": (RefDavis.open, ("train", "valid")),
        "revos": (ReVos.open, ("train", "valid")),
        "mevis": (mevis.MeVis.open, mevis.SPLITS),
    }
    for name, (opener, parts) in openers.items():
        for part in parts:
            yield from _both(f"{name}_{part}", partial(opener, folders[name], part))
    yield from _both("own_videos", partial(CustomVideos.open, folders["own_videos"]))


def _both(name: str, opener: Callable[..., Any]) -> Iterator[Split]:
    opened = cache(opener)  # the annotations are read once for both
    yield Split(name, opened)
    yield Split(f"{name}_clips", lambda: WholeClips(opened()), "video")
