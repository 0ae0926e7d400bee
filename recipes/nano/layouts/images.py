"""Writes small copies of the image benchmarks, drawn instead of downloaded, in their official layouts.

They are what the tests, the quick start and the bundled model's training read through the very same
adapters. Images that nobody has to download; masks that are true to the pixel.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from instructseg.data.catalog import check
from instructseg.data.dataset import COUNTS_FILE, CheckReport
from instructseg.data.datasets import grefcoco, reasonseg, refcoco
from instructseg.data.records import Fault
from instructseg.files import write_bytes_atomic, write_json_atomic
from instructseg.masks import mask_to_rle
from instructseg.media import save_image
from recipes.nano.language.vocabulary import COLOUR_KNOWLEDGE
from recipes.nano.layouts.scenes import DrawnImage, coco_polygons, draw_images, pixel_contours
from recipes.nano.scenes.objects import SHAPES

CATEGORY = {name: number for number, name in enumerate(SHAPES, 1)}
_OBJECTS_PER_PICTURE = 1000  # an annotation's id is the image's times this plus the object's


def write_counts(root: Path, report: CheckReport) -> None:
    """Writes what a check has counted, which holds for this copy."""
    faults = [problem for problem in report.problems if problem.fault is not Fault.COUNT]
    assert not faults, faults
    file = root / COUNTS_FILE
    counts: dict[str, dict[str, int]] = json.loads(file.read_bytes()) if file.is_file() else {}
    for part in dict.fromkeys(count.part for count in report.counts):
        counts[part] = {count.what: count.found for count in report.counts if count.part == part}
    write_json_atomic(file, counts, indent=1)


def coco_name(number: int) -> str:
    """``COCO_train2014_000000000001.jpg``."""
    return f"COCO_train2014_{number:012d}.jpg"


def write_refcoco(root: Path, count: int, seed: int) -> None:
    """Original files of the three, every splitBy, and the converted ones in ``<root>/RES``."""
    pictures: dict[str, list[DrawnImage]] = {}
    drawn = iter(draw_images(4 * count, seed))
    for split in ("train", "val", "testA", "testB"):
        pictures[split] = [next(drawn) for _ in range(count)]
    everything = [picture for part in pictures.values() for picture in part]
    save_images(root / refcoco.IMAGES[0], everything)
    for (name, split_by), splits in refcoco.SPLITS.items():
        refs: list[dict[str, Any]] = []
        for split, part in pictures.items():
            # the UMD split of RefCOCOg has one test part, the Google split none
            own = split if split in splits else "test"
            if own in splits:
                said = [(picture, i) for picture in part for i in picture.said]
                refs += [ref_record(picture, i, len(refs) + n, own) for n, (picture, i) in enumerate(said)]
        number_sentences(refs)
        write_python2_pickle(root / name / f"refs({split_by}).p", refs)
        write_json_atomic(root / name / "instances.json", instances_json(everything))
        if split_by == refcoco.default_split_by(name):
            for split in splits:
                chosen = [ref for ref in refs if ref["split"] == split]
                file = root / "RES" / name / f"{name}_{split}.json"
                write_json_atomic(file, converted_json(chosen, instances_json(everything)))
    options = {"images": str(root / refcoco.IMAGES[0])}
    write_counts(root / "RES", check("refcoco-converted", root / "RES", options=options))


def write_grefcoco(root: Path, count: int, seed: int) -> None:
    """One object, all objects of an image, and one that is not there, in each image."""
    drawn = draw_images(4 * count, seed)
    refs: list[dict[str, Any]] = []
    for place, picture in enumerate(drawn):
        split = grefcoco.SPLITS[place // count]
        refs += [ref_record(picture, i, len(refs) + n, split) for n, i in enumerate(picture.said)]
        for text, targets in (("Everything but the background", picture.visible), (picture.absent(), [])):
            ref = ref_record(picture, next(iter(picture.said)), len(refs), split)
            ref["sentences"] = [sentence(text)]
            ref["ann_id"] = [annotation_id(picture, i) for i in targets] or [-1]
            ref["category_id"] = [CATEGORY[picture.scene.objects[i].shape] for i in targets] or [-1]
            refs.append(ref)
    for ref in refs:
        ref["ann_id"] = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
        ref["file_name"] = coco_name(ref["image_id"])
    number_sentences(refs)
    save_images(root / "images" / "train2014", drawn)
    write_json_atomic(root / "grefcoco" / "grefs(unc).json", refs)
    write_json_atomic(root / "grefcoco" / "instances.json", instances_json(drawn))


def write_reasonseg(root: Path, count: int, seed: int) -> None:
    """Questions about colours; in every other image, objects like the answer are ignored.

    Every third file is in cp1252, and there is a flag in each.
    """
    explained = []
    for number, picture in enumerate(draw_images(3 * count, seed)):
        split, name = reasonseg.SPLITS[number // count], f"drawn_{picture.number}"
        outlined = {i: pixel_contours(picture.mask(i)) for i in picture.visible}
        target = next((i for i in picture.said if outlined[i]), None)
        if target is None:  # rings alone: a polygon of this layout has no hole
            target = next(iter(picture.said))
            outlined[target] = [hull(picture.mask(target))]
        others = [i for i, parts in outlined.items() if parts and i != target and number % 2]
        labels = {target: "target", **dict.fromkeys(others, "Ignore")}
        shapes = [
            {"label": label, "labels": [label], "shape_type": "polygon", "points": part.tolist()}
            for i, label in labels.items()
            for part in outlined[i] or ()
        ]
        shapes.append({"label": "flag", "labels": ["flag"], "shape_type": "polygon", "points": [[0, 0]]})
        obj = picture.scene.objects[target]
        hints = COLOUR_KNOWLEDGE[obj.colour]
        texts = [f"Which {obj.shape} – {s} – recalls the colour of a {hints[0]}?" for s in picture.said[target]]
        record = {"text": texts, "is_sentence": True, "shapes": shapes}
        save_image(root / split / f"{name}.jpg", picture.pixels)
        encoding = "cp1252" if number % 3 == 2 else "utf-8"
        write_bytes_atomic(
            root / split / f"{name}.json", json.dumps(record, ensure_ascii=False).encode(encoding)
        )
        if split == "train":
            answer = f"It is the {picture.words(target)}, since a {hints[0]} is {obj.colour} as well."
            explained.append({"image": f"{name}.jpg", "query": texts[0], "outputs": answer})
    write_json_atomic(root / "explanatory" / "train.json", explained)


def hull(mask: np.ndarray) -> np.ndarray:
    """``int32[n, 2]`` of x, y: the outermost pixels, holes or not."""
    import cv2

    return max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len).reshape(-1, 2)


def save_images(folder: Path, pictures: Sequence[DrawnImage]) -> None:
    """As ``COCO_train2014_*.jpg``."""
    for picture in pictures:
        save_image(folder / coco_name(picture.number), picture.pixels)


def annotation_id(picture: DrawnImage, i: int) -> int:
    """Of object ``i``."""
    return picture.number * _OBJECTS_PER_PICTURE + i


def sentence(text: str) -> dict[str, Any]:
    """A sentence as the official files have it; ``sent`` is the cleaned text."""
    clean = "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").strip()
    return {"tokens": clean.split(), "raw": text, "sent_id": 0, "sent": clean}


def number_sentences(refs: Sequence[dict[str, Any]]) -> None:
    """Gives every sentence of the file its id."""
    number = 0
    for ref in refs:
        for entry in ref["sentences"]:
            entry["sent_id"], number = number, number + 1
        ref["sent_ids"] = [entry["sent_id"] for entry in ref["sentences"]]


def ref_record(picture: DrawnImage, i: int, ref_id: int, split: str) -> dict[str, Any]:
    """The ref of object ``i``, in the official field order."""
    return {
        "sent_ids": [],
        "file_name": coco_name(picture.number).replace(".jpg", f"_{i}.jpg"),  # as misleading as the original
        "ann_id": annotation_id(picture, i),
        "ref_id": ref_id,
        "image_id": picture.number,
        "split": split,
        "sentences": [sentence(text) for text in picture.said[i]],
        "category_id": CATEGORY[picture.scene.objects[i].shape],
    }


def instances_json(pictures: Sequence[DrawnImage]) -> dict[str, Any]:
    """A COCO file of all visible objects: polygons, or run lengths for what has a hole."""
    images, annotations = [], []
    for picture in pictures:
        height, width = picture.pixels.shape[:2]
        name = coco_name(picture.number)
        images.append({"license": 1, "file_name": name, "height": height, "width": width, "id": picture.number})
        for i in picture.visible:
            mask = picture.mask(i)
            rows, columns = np.nonzero(mask)
            x, y = int(columns.min()), int(rows.min())
            rle = mask_to_rle(mask)
            # in turn a list of run lengths, which the oldest files have, and a single one
            segmentation: Any = coco_polygons(mask) or ([rle] if i % 2 else rle)
            annotations.append(
                {
                    "segmentation": segmentation,
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "image_id": picture.number,
                    "bbox": [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y],
                    "category_id": CATEGORY[picture.scene.objects[i].shape],
                    "id": annotation_id(picture, i),
                }
            )
    categories = [{"id": number, "name": name, "supercategory": "shape"} for name, number in CATEGORY.items()]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def converted_json(refs: Sequence[Mapping[str, Any]], instances: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Refs as PSALM writes them: each with its image and its annotation."""
    images = {entry["id"]: entry for entry in instances["images"]}
    annotations = {entry["id"]: entry for entry in instances["annotations"]}
    return [
        {
            "image": images[ref["image_id"]]["file_name"],
            "image_info": images[ref["image_id"]],
            "instruction": ref["sentences"],
            "anns": [annotations[ref["ann_id"]]],
            "new_img_id": number,
        }
        for number, ref in enumerate(refs)
    ]


_PurePickler: Any = vars(pickle)["_Pickler"]  # the one in Python, whose table of types can be changed


class _Python2Pickler(_PurePickler):
    """Writes text as Python 2 writes ``str``: as bytes of no known encoding."""

    def _save_str(self, text: str) -> None:
        raw = text.encode("utf-8")
        short = len(raw) < 256
        self.write((struct.pack("<cB", b"U", len(raw)) if short else struct.pack("<ci", b"T", len(raw))) + raw)
        self.memoize(text)

    dispatch: ClassVar[Any] = {**_PurePickler.dispatch, str: _save_str}


def write_python2_pickle(path: Path, content: Any) -> None:
    """A pickle of protocol 2 with the byte strings of Python 2."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(content)
    write_bytes_atomic(path, buffer.getvalue())
