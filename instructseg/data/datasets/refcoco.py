"""RefCOCO, RefCOCO+ and RefCOCOg: one object of a COCO image and sentences for it.

The original files (``RefCoco.open``)::

    <root>/refcoco/   refs(unc).p  refs(google).p  instances.json
           refcoco+/  refs(unc).p                  instances.json
           refcocog/  refs(umd).p  refs(google).p  instances.json
           images/mscoco/images/train2014/COCO_train2014_000000581857.jpg     (of every split)

A ref, from a Python-2 pickle::

    {"ref_id": 0, "ann_id": 1719310, "image_id": 581857, "category_id": 1, "split": "train",
     "file_name": "COCO_train2014_000000581857_16.jpg",     # not an image: join through image_id
     "sent_ids": [0], "sentences": [{"sent_id": 0, "sent": "the lady", "raw": "THE LADY", "tokens": [...]}]}

The split is the ref's own field, ``splitBy`` the letters in the file's name. The converted files that PSALM
and InstructSeg read (``RefCoco.open_converted``) hold the same, one list per split::

    <root>/refcoco/refcoco_{train,val,testA,testB}.json     refcoco+ alike
           refcocog/refcocog_{train,val,test}.json
    <images>/COCO_train2014_000000581857.jpg

    {"image_info": <record of images>, "anns": [<record of annotations>], "instruction": <sentences>,
     "image": "COCO_...jpg", "new_img_id": 0}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from instructseg.data.coco_refs import (
    Annotation,
    CocoImage,
    Instances,
    Ref,
    ReferringImages,
    Sentences,
    joinable,
    read_instances,
    record_of,
    to_annotation,
    to_image,
)
from instructseg.data.data_files import read_json, require_file
from instructseg.data.dataset import Dataset, Parts, check_split
from instructseg.data.records import DataError, Fault, Record, by_id, identifier, shown
from instructseg.safe_pickle import load_plain

SPLITS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("refcoco", "unc"): ("train", "val", "testA", "testB"),
        ("refcoco", "google"): ("train", "val", "test"),
        ("refcoco+", "unc"): ("train", "val", "testA", "testB"),
        ("refcocog", "umd"): ("train", "val", "test"),
        ("refcocog", "google"): ("train", "val"),
    }
)
"""Name and splitBy -> splits; the first splitBy of a name is its default."""

IMAGES = ("images/mscoco/images/train2014", "images/train2014", "coco/train2014", "train2014")
"""Where the images may be, below the root; the first is the official place."""


def _published(rows: str) -> dict[tuple[str, str, str], dict[str, int]]:
    words = (row.split() for row in rows.strip().splitlines())
    return {
        (name, by, split): {"refs": int(refs), "sentences": int(sentences), "images": int(images)}
        for name, by, split, refs, sentences, images in words
    }


PUBLISHED = _published(
    """
    refcoco  unc train 42404 120624 16994
    refcoco  unc val    3811  10834  1500
    refcoco  unc testA  1975   5657   750
    refcoco  unc testB  1810   5095   750
    refcoco+ unc train 42278 120191 16992
    refcoco+ unc val    3805  10758  1500
    refcoco+ unc testA  1975   5726   750
    refcoco+ unc testB  1798   4889   750
    refcocog umd train 42226  80512 21899
    refcocog umd val    2573   4896  1300
    refcocog umd test   5023   9602  2600
    """
)
"""Name, splitBy, split -> counts."""


def in_split(ref_split: str, split: str) -> bool:
    """Whether a ref whose field says ``ref_split`` belongs to ``split``, by the rule of the official reader.

    ``testA`` takes every field with an A in it, ``test`` every one with ``test`` in it.
    """
    if split in ("testA", "testB", "testC"):
        return split[-1] in ref_split
    return split in ref_split if split == "test" else split == ref_split


class RefCoco(ReferringImages):
    """One split of one of the three; see :class:`~instructseg.data.coco_refs.ReferringImages`."""

    @classmethod
    def open(
        cls,
        root: str | Path,
        name: str = "refcoco",
        split: str = "val",
        split_by: str | None = None,
        sentences: Sentences = "each",
        images: str | Path | None = None,
        official_polygons: bool = False,
    ) -> RefCoco:
        """Opens the original files.

        Args:
            root: the folder that holds ``refcoco`` and so on.
            name: ``refcoco``, ``refcoco+`` or ``refcocog``.
            split_by: ``unc``, ``google`` or ``umd``; by default ``unc``, for RefCOCOg ``umd``.
            sentences: ``each`` or ``joined``.
            images: the folder of the images, if it is none of :data:`IMAGES` below the root.
            official_polygons: see :class:`~instructseg.data.coco_refs.ReferringImages`.

        Raises:
            FileNotFoundError, DataError: an annotation file is missing or damaged.
            ValueError: there is no such split.
        """
        return _Original(Path(root), name, split_by, images).split(split, sentences, official_polygons)

    @classmethod
    def open_converted(
        cls,
        root: str | Path,
        name: str,
        split: str,
        images: str | Path,
        sentences: Sentences = "each",
        official_polygons: bool = False,
    ) -> RefCoco:
        """Opens ``<root>/<name>/<name>_<split>.json``, or ``<split>_psalm.json`` beside it.

        Raises: as :meth:`open`.
        """
        check_split(name, split, SPLITS[name, default_split_by(name)])
        official = Path(root) / name / f"{name}_{split}.json"
        psalm = official.with_name(f"{split}_psalm.json")
        file = psalm if psalm.is_file() and not official.is_file() else official
        refs, instances = read_converted(file, split)
        published = PUBLISHED[name, default_split_by(name), split]
        title = f"{name}/converted/{split}"
        return cls(title, refs, instances, Path(images), sentences, official_polygons, published)


class _Original:
    """The original files of one name and splitBy, whatever the split."""

    def __init__(self, root: Path, name: str, split_by: str | None, images: str | Path | None = None) -> None:
        split_by = split_by or default_split_by(name)
        if (name, split_by) not in SPLITS:
            known = ", ".join(f"{n}({by})" for n, by in SPLITS)
            raise ValueError(f"there is no {name}({split_by}): there are {known}")
        self.name, self.split_by = name, split_by
        file = root / name / f"refs({split_by}).p"
        self.refs = read_refs(file)
        wanted = {number for ref in self.refs for number in ref.ann_ids}
        self.instances = read_instances(root / name / "instances.json", wanted)
        self.folder = find_images(root, images)

    def split(self, split: str, sentences: Sentences, official_polygons: bool = False) -> RefCoco:
        check_split(f"{self.name}({self.split_by})", split, SPLITS[self.name, self.split_by])
        refs = [ref for ref in self.refs if in_split(ref.split, split)]
        published = PUBLISHED.get((self.name, self.split_by, split))
        title = f"{self.name}/{self.split_by}/{split}"
        return RefCoco(title, refs, self.instances, self.folder, sentences, official_polygons, published)


def default_split_by(name: str) -> str:
    """The usual splitBy; raises ``ValueError`` for an unknown name."""
    for known, split_by in SPLITS:
        if known == name:
            return split_by
    raise ValueError(f"unknown name {name!r}: there are {', '.join(sorted({n for n, _ in SPLITS}))}")


def find_images(root: Path, images: str | Path | None = None) -> Path:
    """``images``, or the first of :data:`IMAGES` that is there, or where they should be."""
    if images is not None:
        return Path(images)
    return next((root / place for place in IMAGES if (root / place).is_dir()), root / IMAGES[0])


def read_refs(file: Path) -> list[Ref]:
    """The refs of a ``refs(*).p``, without redundant fields; raises as :func:`.read_json`."""
    try:
        content = load_plain(require_file(file))
    except ValueError as error:
        raise DataError(Fault.RECORD, file, f"not a list of refs ({error}); download it again") from error
    return to_refs(content, file, "sent")


def to_refs(content: Any, file: Path, text: str) -> list[Ref]:
    """The refs of a file from its official records.

    Args:
        text: the field of a sentence to read, ``sent`` or ``raw``.

    Raises:
        DataError: it is no list of refs, or two have one id.
    """
    if not isinstance(content, list):
        raise DataError(Fault.RECORD, file, f"not a list of refs, but {shown(content)}; download it again")
    refs = []
    for number, entry in enumerate(content):
        where = f"{file}, entry {number}"
        try:
            refs.append((to_ref(Record.of(entry, where), text), where))
        except DataError as error:
            message = (
                f"not a list of refs ({error.problem.where.removeprefix(f'{file}, ')}: {error.problem.message})"
            )
            raise DataError(error.problem.fault, file, f"{message}; download it again") from error
    return list(by_id(((ref.id, ref, where) for ref, where in refs), "ref").values())


def to_ref(entry: Record, text: str) -> Ref:
    """A ref from its official record; see :func:`to_refs`."""
    found = entry.get("ann_id")
    given = found if isinstance(found, list) else [found]
    ann_ids = tuple(identifier(number, entry.where, "ann_id") for number in given)
    said = [(one.id("sent_id"), one.text(text), one.where) for one in entry.records("sentences")]
    by_id(said, "sentence")
    return Ref(
        id=entry.id("ref_id"),
        image_id=entry.id("image_id"),
        ann_ids=tuple(dict.fromkeys(number for number in ann_ids if number != -1)),
        split=entry.text("split"),
        sentences=tuple(words for _, words, _ in said),
        sent_ids=tuple(number for number, _, _ in said),
    )


def read_converted(file: Path, split: str) -> tuple[list[Ref], Instances]:
    """The refs of a converted file and their targets; raises as :func:`.read_json`."""
    images: list[CocoImage] = []
    annotations: list[Annotation] = []

    def compact(entry: dict[str, Any]) -> Any:
        if "segmentation" in entry:
            found = to_annotation(record_of(file, entry, "annotation"))
            assert found is not None  # all are kept
            annotations.append(found)
            return found.id
        if "file_name" in entry:
            image = to_image(record_of(file, entry, "image"))
            images.append(image)
            return image.id
        return entry

    refs = []
    for number, value in enumerate(read_json(file, list, compact)):
        entry = Record.of(value, f"{file}, entry {number}")
        said = tuple(entry.records("instruction"))
        ref = Ref(
            id=entry.id("new_img_id"),
            image_id=entry.id("image_info"),
            ann_ids=tuple(dict.fromkeys(identifier(one, entry.where, "anns") for one in entry.list("anns"))),
            split=split,
            sentences=tuple(sentence.text("sent") for sentence in said),
            sent_ids=tuple(sentence.id("sent_id") if sentence.has("sent_id") else -1 for sentence in said),
        )
        refs.append((ref.id, ref, entry.where))
    kept = list(by_id(refs, "ref").values())
    return kept, Instances(
        file, joinable(file, "image", images, CocoImage), joinable(file, "annotation", annotations, Annotation)
    )


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Every split of every ``refs(*).p`` below ``root``, each read once; the default ones are required."""
    found: dict[str, Callable[[], Dataset]] = {}
    for (name, split_by), splits in SPLITS.items():
        if split_by == default_split_by(name) or (root / name / f"refs({split_by}).p").is_file():
            files = cache(partial(_Original, root, name, split_by, options["images"] or None))
            for split in splits:
                found[f"{name}/{split_by}/{split}"] = partial(_open_joined, files, split)
    return found


def _open_joined(files: Callable[[], _Original], split: str) -> RefCoco:
    return files().split(split, "joined")


def converted_parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """Every converted file."""
    return {
        split.replace("/", "/converted/"): partial(
            open_converted_split, root, split, {**options, "sentences": "joined"}
        )
        for split in CONVERTED_SPLITS
    }


def converted_images(root: Path, images: str | Path | None) -> Path:
    """The folder of the images of converted files: as given, below the root, or below the folder around it."""
    found = find_images(root, images)
    return found if found.is_dir() else find_images(root.parent, images)


ORIGINAL_SPLITS = tuple(f"{name}/{by}/{part}" for (name, by), parts in SPLITS.items() for part in parts)
CONVERTED_SPLITS = tuple(
    f"{name}/{part}" for (name, by), parts in SPLITS.items() if by == default_split_by(name) for part in parts
)


def open_split(root: Path, split: str | None, options: Mapping[str, Any]) -> RefCoco:
    """Opens one of :data:`ORIGINAL_SPLITS`, with ``sentences`` and ``images`` as of :meth:`RefCoco.open`."""
    name, by, part = str(split).split("/")
    return RefCoco.open(root, name, part, by, options["sentences"], options["images"] or None)


def open_converted_split(root: Path, split: str | None, options: Mapping[str, Any]) -> RefCoco:
    """Opens one of :data:`CONVERTED_SPLITS`, with options as of :func:`open_split`."""
    name, part = str(split).split("/")
    images = converted_images(root, options["images"] or None)
    return RefCoco.open_converted(root, name, part, images, options["sentences"])


def open_evaluation(name: str, root: Path, split: str | None, options: Mapping[str, Any]) -> RefCoco:
    """Opens a split of ``name`` alone, original or ``converted``."""
    sentences, polygons, images = options["sentences"], options["official_polygons"], options["images"]
    if options["converted"]:
        return RefCoco.open_converted(root, name, str(split), images or root / "images", sentences, polygons)
    by = options["split_by"] or None
    return RefCoco.open(root, name, str(split), by, sentences, images or None, polygons)


def evaluation_suffix(options: Mapping[str, Any]) -> str:
    """End of a result's name: the paper's figures are of all sentences of an object together."""
    by = f"_{options['split_by']}" if options["split_by"] else ""
    return by + ("_each" if options["sentences"] == "each" else "")


def public_name(split: str) -> str:
    """``refcocog/google/val`` to ``refcocog_google_val``, without the usual splitBy."""
    name, by, part = split.split("/")
    return f"{name}_{part}" if by == default_split_by(name) else f"{name}_{by}_{part}"
