"""gRefCOCO: expressions of one, several or no objects of a COCO image.

::

    <root>/grefcoco/  grefs(unc).json, or grefs(unc).p, which is read where both are there
                      instances.json
           images/train2014/COCO_train2014_000000581857.jpg

A ref, whose expressions all mean the same objects::

    {"ref_id": 0, "ann_id": [1719310, 1719311], "image_id": 581857, "category_id": [1, 1], "split": "train",
     "file_name": "COCO_train2014_000000581857.jpg",
     "sent_ids": [0],
     "sentences": [{"sent_id": 0, "sent": "both ladies", "raw": "Both ladies", "tokens": [...]}]}

``ann_id`` is ``[-1]`` where nothing is meant. The split is the ref's own field; the images of each split are
those of RefCOCO(unc). An expression is read as written (``raw``), as the official evaluation does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from instructseg.data.coco_refs import Instances, Ref, ReferringImages, Sentences, read_instances
from instructseg.data.data_files import read_json
from instructseg.data.dataset import Parts, check_split
from instructseg.data.datasets.refcoco import find_images, in_split, to_refs
from instructseg.data.records import DataError, Fault
from instructseg.safe_pickle import load_plain

SPLITS = ("train", "val", "testA", "testB")
PUBLISHED = {
    "train": {"images": 16994},
    "val": {"images": 1500},
    "testA": {"images": 750},
    "testB": {"images": 750},
}


class GRefCoco(ReferringImages):
    """One split; one mask per target, none without a target.

    See :class:`~instructseg.data.coco_refs.ReferringImages`.
    """

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "val",
        sentences: Sentences = "each",
        images: str | Path | None = None,
    ) -> GRefCoco:
        """Opens a split.

        Args:
            root: the folder that holds ``grefcoco``.
            sentences: ``each`` or ``joined``.
            images: the folder of the images, if it is none of ``refcoco.IMAGES`` below the root.

        Raises:
            FileNotFoundError, DataError: an annotation file is missing or damaged.
            ValueError: there is no such split.
        """
        root = Path(root)
        refs, instances = _read(root)
        return cls.of_split(refs, instances, find_images(root, images), split, sentences)

    @classmethod
    def of_split(
        cls, refs: list[Ref], instances: Instances, folder: Path, split: str, sentences: Sentences
    ) -> GRefCoco:
        """The part of ``refs`` that belongs to ``split``."""
        check_split("gRefCOCO", split, SPLITS)
        chosen = [ref for ref in refs if in_split(ref.split, split)]
        return cls(f"grefcoco/unc/{split}", chosen, instances, folder, sentences, published=PUBLISHED[split])

    def counts(self) -> dict[str, int]:
        """RefCOCO's counts, and sentences with several targets or none."""
        several = sum(len(ref.sentences) for ref in self.refs if len(ref.ann_ids) > 1)
        none = sum(len(ref.sentences) for ref in self.refs if not ref.ann_ids)
        return {**super().counts(), "multi-target sentences": several, "no-target sentences": none}


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """The four splits; the files are read once."""
    files = cache(partial(_read, root))

    def opened(split: str) -> GRefCoco:
        return GRefCoco.of_split(*files(), find_images(root, options["images"] or None), split, "joined")

    return {f"grefcoco/unc/{split}": partial(opened, split) for split in SPLITS}


def _read(root: Path) -> tuple[list[Ref], Instances]:
    folder = root / "grefcoco"
    pickled, file = folder / "grefs(unc).p", folder / "grefs(unc).json"
    if pickled.is_file():
        file = pickled
    try:
        entries = load_plain(file) if file == pickled else read_json(file, list)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(Fault.RECORD, file, f"not a list of refs ({error}); download it again") from error
    refs = to_refs(entries, file, "raw")
    return refs, read_instances(folder / "instances.json", {n for ref in refs for n in ref.ann_ids})


def open_split(root: Path, split: str | None, options: Mapping[str, Any]) -> GRefCoco:
    """Opens one of :data:`SPLITS`, with ``sentences`` and ``images`` as of :meth:`GRefCoco.open`."""
    return GRefCoco.open(root, str(split), options["sentences"], options["images"] or None)
