"""MUSE and MMR: questions about COCO images that are answered by several objects, or by parts of objects.

::

    <root>/muse_{train,val,test}.json                                          MUSE
           MMR_{train,val,test_mixed,test_obj_only,test_part_only}.json        MMR
           images/{train2014,train2017,val2017}/*.jpg                          or below ``images/mscoco``

A file is a list of images::

    {"file_name": "train2017/000000000009.jpg" or "COCO_train2014_000000000009.jpg", or else
     "coco_url": "http://.../train2017/000000000009.jpg", "height": 480, "width": 640,
     "questions": ["which ...?", ...],
     "answers": [[{"segmentation": <polygons or RLE>, ...}, ...], ...], ...}

An answer is a list of objects; the sample's masks are theirs, and the union is what a single mask is compared
with. The official scripts compare mask by mask, which asks for a model that gives several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from instructseg.data.coco_refs import Annotation, CocoImage, Instances, Ref, ReferringImages, to_annotation
from instructseg.data.data_files import read_json
from instructseg.data.dataset import check_split
from instructseg.data.records import Record, fault, file_kind, file_name, shown
from instructseg.structures import Sample, Task

FILES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "muse": {split: f"muse_{split}.json" for split in ("val", "test", "train")},
        "mmr": {
            split: f"MMR_{split}.json"
            for split in ("val", "test_mixed", "test_obj_only", "test_part_only", "train")
        },
    }
)
"""Data set -> split -> file."""
IMAGES = ("images/mscoco/images", "images", "../refer_seg/images/mscoco/images")
"""Places of the folders of COCO below the root, the first that is there."""


class MultiTarget(ReferringImages):
    """One split; see :class:`~instructseg.data.coco_refs.ReferringImages`."""

    @classmethod
    def open(cls, root: str | Path, name: str, split: str, images: str | Path | None = None) -> MultiTarget:
        """Opens a file of :data:`FILES`.

        Args:
            root: the folder that holds it.
            name: ``muse`` or ``mmr``.
            images: the folder of the folders of COCO, if it is none of :data:`IMAGES`.

        Raises:
            FileNotFoundError, DataError: the file is missing or damaged.
            ValueError: there is no such split.
        """
        root = Path(root)
        check_split(name, split, FILES[name])
        file = root / FILES[name][split]
        shapes: dict[Any, CocoImage] = {}
        objects: dict[Any, Annotation] = {}
        refs: list[Ref] = []
        with file_kind(file, "not a file of multi-target questions"):
            for number, value in enumerate(read_json(file, list)):
                entry = Record.of(value, f"{file}, entry {number}")
                shapes[number] = CocoImage(number, _path(entry), *entry.size())
                for place, (question, answer) in enumerate(_asked(entry)):
                    found = [_object(one, number, len(objects) + i) for i, one in enumerate(answer)]
                    objects |= {one.id: one for one in found}
                    ids = tuple(one.id for one in found)
                    refs.append(Ref(f"{number}/{place}", number, ids, split, (question,), (0,)))
        folder = next((root / place for place in IMAGES if (root / place).is_dir()), root / IMAGES[0])
        instances = Instances(file, shapes, objects)
        return cls(f"{name}/{split}", refs, instances, Path(images) if images else folder)

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), task=Task.REASON_SEG)


def _path(entry: Record) -> str:
    """The image below the folders of COCO."""
    if entry.has("file_name"):
        name = file_name(entry.get("file_name"), entry.where, "file_name")
        return name if "/" in name else f"train2014/{name}"
    return file_name("/".join(PurePosixPath(entry.text("coco_url")).parts[-2:]), entry.where, "coco_url")


def _asked(entry: Record) -> Iterator[tuple[str, list[Record]]]:
    questions, answers = entry.texts("questions"), entry.list("answers")
    if len(questions) != len(answers):
        raise fault(entry.where, f"{len(questions)} questions but {len(answers)} answers")
    for number, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        where = f"{entry.where}, answer {number}"
        if not isinstance(answer, list):
            raise fault(where, f"it is no list of objects, but {shown(answer)}")
        yield question, [Record.of(one, f"{where}, object {i}") for i, one in enumerate(answer)]


def _object(answer: Record, image: int, number: int) -> Annotation:
    """An object of an answer, under ids of its own: those of the file repeat, or are not there."""
    given = {"id": number, "image_id": image, "segmentation": answer.get("segmentation")}
    found = to_annotation(Record(given, answer.where))
    assert found is not None  # all are kept
    return found


def open_split(name: str, root: Path, split: str | None, options: Mapping[str, Any]) -> MultiTarget:
    """Opens a file of :data:`FILES`, with ``images`` as of :meth:`MultiTarget.open`."""
    return MultiTarget.open(root, name, str(split), options["images"])
