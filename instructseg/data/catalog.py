"""Every data set by name: how its folder is checked and how a split is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import MappingProxyType

from instructseg.data.custom import custom_images, custom_videos
from instructseg.data.dataset import CheckReport, Dataset
from instructseg.data.datasets import (
    grefcoco,
    llava,
    mevis,
    mmbench,
    reasonseg,
    refcoco,
    refdavis,
    refytvos,
    revos,
    vqa,
)

Opener = Callable[[Path, str | None, Path | None], Dataset]
"""Takes the root, the split (``None`` for the usual one) and the folder of the pictures, if it is elsewhere."""

Checker = Callable[[Path, bool, Path | None], CheckReport]
"""Takes the root, whether to decode everything, and the folder of the pictures, if it is elsewhere."""


@dataclass(frozen=True)
class Entry:
    """A data set.

    Attributes:
        title: for people.
        check: see :func:`~instructseg.data.dataset.check_parts`.
        open: raises as the adapter.
        splits: the usual one first; empty where there is one alone, or where they are the user's.
        images: whether the pictures may lie outside the root.
    """

    title: str
    check: Checker
    open: Opener
    splits: tuple[str, ...]
    images: bool = False


def find(name: str) -> Entry:
    """The data set called ``name``; raises ``ValueError`` that says the closest name there is."""
    if name not in CATALOG:
        (close,) = get_close_matches(name, CATALOG, n=1, cutoff=0.0)
        raise ValueError(f"unknown data set {name!r}; the closest is {close!r}")
    return CATALOG[name]


def check(name: str, root: str | Path, deep: bool = False, images: str | Path | None = None) -> CheckReport:
    """Goes through a data set; see :func:`~instructseg.data.dataset.check_parts`.

    Args:
        name: one of :data:`CATALOG`.
        root: its folder; of one's own data also a file.
        deep: also reads every picture and decodes every mask.
        images: the folder of the pictures, where it is not in its place below the root.

    Raises:
        FileNotFoundError: there is no such root.
        ValueError: there is no such data set, or its pictures cannot be elsewhere.
    """
    entry = find(name)
    return entry.check(_existing(root), deep, _elsewhere(name, entry, images))


def open_split(
    name: str, root: str | Path, split: str | None = None, images: str | Path | None = None
) -> Dataset:
    """Opens one split, with the adapter's defaults.

    Args:
        name, root, images: see :func:`check`.
        split: one of the entry's; ``None`` for the usual one.

    Raises:
        FileNotFoundError, ValueError: as :func:`check`, and as the adapter does.
    """
    entry = find(name)
    if split is None and entry.splits:
        split = entry.splits[0]
    elif entry.splits and split not in entry.splits:
        raise ValueError(f"{name} has no split {split!r}: there are {', '.join(entry.splits)}")
    return entry.open(_existing(root), split, _elsewhere(name, entry, images))


def _existing(root: str | Path) -> Path:
    if not Path(root).exists():
        raise FileNotFoundError(f"{root} is missing: give the folder of the data set")
    return Path(root)


def _elsewhere(name: str, entry: Entry, images: str | Path | None) -> Path | None:
    if images is not None and not entry.images:
        raise ValueError(f"the pictures of {name} lie below its root, not in a folder of their own")
    return None if images is None else Path(images)


def _inside(check: Callable[[Path, bool], CheckReport]) -> Checker:
    """Of a data set whose pictures lie below its root."""
    return lambda root, deep, images: check(root, deep)


def _split(opener: Callable[[Path, str], Dataset]) -> Opener:
    """Of a data set whose splits are known and whose pictures lie below its root."""
    return lambda root, split, images: opener(root, str(split))


def _open_refcoco(root: Path, split: str | None, images: Path | None) -> Dataset:
    name, split_by, part = str(split).split("/")
    return refcoco.RefCoco.open(root, name, part, split_by, images=images)


def _converted_images(root: Path, images: Path | None) -> Path:
    """Where the pictures are: as said, below the root, or below the folder that holds the root."""
    found = refcoco.find_images(root, images)
    return found if found.is_dir() else refcoco.find_images(root.parent, images)


def _check_converted(root: Path, deep: bool, images: Path | None) -> CheckReport:
    return refcoco.check_converted(root, _converted_images(root, images), deep)


def _open_converted(root: Path, split: str | None, images: Path | None) -> Dataset:
    name, part = str(split).split("/")
    return refcoco.RefCoco.open_converted(root, name, part, _converted_images(root, images))


def _open_refytvos(root: Path, split: str | None, images: Path | None) -> Dataset:
    part = str(split).removeprefix("converted/")
    original = refytvos.meta_file(root, part).is_file() or not (root / refytvos.CONVERTED[part]).is_file()
    if part == split and original:
        return refytvos.RefYtVos.open(root, part)
    return refytvos.RefYtVos.open_converted(root, part)


def _open_refdavis(root: Path, split: str | None, images: Path | None) -> Dataset:
    converted = (root / refdavis.CONVERTED).is_file() and not (root / "DAVIS").is_dir()
    if split == "converted/valid" or (split == "valid" and converted):
        return refdavis.RefDavis.open_converted(root)
    return refdavis.RefDavis.open(root, str(split))


def _questions(name: str, title: str) -> Entry:
    opener = vqa.BENCHMARKS[name]
    return Entry(title, _inside(partial(vqa.check, name)), lambda root, split, images: opener(root), (name,))


def _first(usual: str, splits: Sequence[str]) -> tuple[str, ...]:
    return usual, *(split for split in splits if split != usual)


_ORIGINAL = tuple(f"{name}/{by}/{part}" for (name, by), parts in refcoco.SPLITS.items() for part in parts)
_CONVERTED = tuple(
    f"{name}/{part}"
    for (name, by), parts in refcoco.SPLITS.items()
    if by == refcoco.default_split_by(name)
    for part in parts
)

CATALOG: Mapping[str, Entry] = MappingProxyType(
    {
        "refcoco": Entry(
            "RefCOCO, RefCOCO+ and RefCOCOg, original files",
            refcoco.check,
            _open_refcoco,
            _first("refcoco/unc/val", _ORIGINAL),
            images=True,
        ),
        "refcoco-converted": Entry(
            "RefCOCO, RefCOCO+ and RefCOCOg as the released code reads them",
            _check_converted,
            _open_converted,
            _first("refcoco/val", _CONVERTED),
            images=True,
        ),
        "grefcoco": Entry(
            "gRefCOCO",
            grefcoco.check,
            lambda root, split, images: grefcoco.GRefCoco.open(root, str(split), images=images),
            ("val", "train", "testA", "testB"),
            images=True,
        ),
        "reasonseg": Entry(
            "ReasonSeg",
            _inside(reasonseg.check),
            _split(reasonseg.ReasonSeg),
            ("val", "train", "test"),
        ),
        "refytvos": Entry(
            "Ref-YouTube-VOS: 2021, 2020 or converted",
            _inside(refytvos.check),
            _open_refytvos,
            ("valid", "train", "converted/valid", "converted/train"),
        ),
        "refdavis": Entry(
            "Ref-DAVIS17: original, ReferFormer's or converted",
            _inside(refdavis.check),
            _open_refdavis,
            ("valid", "train", "converted/valid"),
        ),
        "revos": Entry("ReVOS", _inside(revos.check), _split(revos.ReVos.open), ("valid", "train")),
        "mevis": Entry(
            "MeViS", _inside(mevis.check), _split(mevis.MeVis.open), ("valid_u", "train", "valid")
        ),
        "llava": Entry(
            "LLaVA-1.5 mix and LLaVA-Instruct-150k",
            _inside(llava.check),
            lambda root, split, images: llava.Llava(root, split),
            (),
        ),
        "vqav2": _questions("vqav2", "VQAv2 test-dev"),
        "vqav2_val": _questions("vqav2_val", "VQAv2 val2014"),
        "gqa": _questions("gqa", "GQA test-dev balanced"),
        "pope": _questions("pope", "POPE"),
        "scienceqa": _questions("scienceqa", "ScienceQA test"),
        "mmbench": Entry(
            "MMBench",
            _inside(mmbench.check),
            lambda root, split, images: mmbench.MMBench(root, split or mmbench.FILE),
            (),
        ),
        "own-images": Entry(
            "Your own pictures",
            _inside(custom_images.check),
            lambda root, split, images: custom_images.CustomImages(root, split),
            (),
        ),
        "own-videos": Entry(
            "Your own videos",
            _inside(custom_videos.check),
            lambda root, split, images: custom_videos.CustomVideos.open(root, split),
            (),
        ),
    }
)  # fmt: skip
"""Name -> data set."""
