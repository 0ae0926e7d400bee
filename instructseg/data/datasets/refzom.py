"""Ref-ZOM: expressions of no, one or many objects of a COCO image.

::

    <root>/ref-zom/  refs(final).p   instances.json
           images/train2014/COCO_train2014_000000581857.jpg  ...     and those of val2014 beside them

A ref is one of RefCOCO's with ``source``, and ``ann_id`` a number or a list. What ``source`` calls ``zero`` has
no target, whatever its ``ann_id``. An expression is read as written (``raw``), as the official code does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from instructseg.data.coco_refs import Instances, Ref, ReferringImages, Sentences, read_instances
from instructseg.data.data_files import require_file
from instructseg.data.dataset import Parts, check_split
from instructseg.data.datasets.refcoco import find_images, in_split, to_refs
from instructseg.data.records import DataError, Fault
from instructseg.safe_pickle import load_plain

SPLITS = ("test", "train")
IMAGES = "images/trainval2014"


class RefZom(ReferringImages):
    """One split; see :class:`~instructseg.data.coco_refs.ReferringImages`."""

    @classmethod
    def open(
        cls,
        root: str | Path,
        split: str = "test",
        sentences: Sentences = "each",
        images: str | Path | None = None,
    ) -> RefZom:
        """Opens a split.

        Args:
            root: the folder that holds ``ref-zom``.
            sentences: ``each`` or ``joined``.
            images: the folder of the images, if it is neither :data:`IMAGES` nor one of ``refcoco.IMAGES``.

        Raises:
            FileNotFoundError, DataError: an annotation file is missing or damaged.
            ValueError: there is no such split.
        """
        return cls.of_split(*_read(Path(root)), Path(root), split, sentences, images)

    @classmethod
    def of_split(
        cls,
        refs: list[Ref],
        instances: Instances,
        root: Path,
        split: str,
        sentences: Sentences,
        images: str | Path | None,
    ) -> RefZom:
        """The part of ``refs`` that belongs to ``split``."""
        check_split("Ref-ZOM", split, SPLITS)
        chosen = [ref for ref in refs if in_split(ref.split, split)]
        both = root / IMAGES
        folder = find_images(root, images or (both if both.is_dir() else None))
        return cls(f"ref-zom/{split}", chosen, instances, folder, sentences)


def parts(root: Path, options: Mapping[str, Any]) -> Parts:
    """The splits; the files are read once."""
    files = cache(partial(_read, root))

    def opened(split: str) -> RefZom:
        return RefZom.of_split(*files(), root, split, "joined", options["images"] or None)

    return {f"ref-zom/{split}": partial(opened, split) for split in SPLITS}


def _read(root: Path) -> tuple[list[Ref], Instances]:
    folder = root / "ref-zom"
    file = folder / "refs(final).p"
    try:
        entries = load_plain(require_file(file))
    except ValueError as error:
        raise DataError(Fault.RECORD, file, f"not a list of refs ({error}); download it again") from error
    if isinstance(entries, list):
        entries = [
            {**entry, "ann_id": []} if isinstance(entry, dict) and entry.get("source") == "zero" else entry
            for entry in entries
        ]
    refs = to_refs(entries, file, "raw")
    return refs, read_instances(folder / "instances.json", {n for ref in refs for n in ref.ann_ids})


def open_split(root: Path, split: str | None, options: Mapping[str, Any]) -> RefZom:
    """Opens one of :data:`SPLITS`, with ``sentences`` and ``images`` as of :meth:`RefZom.open`."""
    return RefZom.open(root, str(split), options["sentences"], options["images"] or None)
