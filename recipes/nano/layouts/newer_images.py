"""Writes small copies of Ref-ZOM, MUSE and MMR from drawn images, in the official layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instructseg.data.datasets import multitarget, refzom
from instructseg.files import write_json_atomic
from instructseg.masks import mask_to_rle
from instructseg.media import save_image
from recipes.nano.layouts.images import (
    annotation_id,
    coco_name,
    instances_json,
    number_sentences,
    ref_record,
    save_images,
    sentence,
    write_python2_pickle,
)
from recipes.nano.layouts.scenes import DrawnImage, coco_polygons, draw_images


def write_refzom(root: Path, count: int, seed: int) -> None:
    """Of each image one object, all of them, and one that is not there, with the ``ann_id`` of another."""
    drawn = draw_images(2 * count, seed)
    refs: list[dict[str, Any]] = []
    for place, picture in enumerate(drawn):
        split = refzom.SPLITS[place // count]
        first = next(iter(picture.said))
        one = ref_record(picture, first, len(refs), split)
        everything, nothing = (ref_record(picture, first, len(refs) + n, split) for n in (1, 2))
        everything |= {"sentences": [sentence("Everything, please")]}
        everything |= {"ann_id": [annotation_id(picture, i) for i in picture.visible]}
        nothing["sentences"] = [sentence(picture.absent())]
        refs += [{**one, "source": "one"}, {**everything, "source": "many"}, {**nothing, "source": "zero"}]
    number_sentences(refs)
    save_images(root / refzom.IMAGES, drawn)
    write_python2_pickle(root / "ref-zom" / "refs(final).p", refs)
    write_json_atomic(root / "ref-zom" / "instances.json", instances_json(drawn))


def write_muse(root: Path, count: int, seed: int) -> None:
    """Images of COCO 2014 by ``file_name`` and of 2017 by ``coco_url``; polygons."""
    _write_questions(root, "muse", count, seed)


def write_mmr(root: Path, count: int, seed: int) -> None:
    """Images by ``file_name`` with their folder; run lengths."""
    _write_questions(root, "mmr", count, seed)


def _write_questions(root: Path, name: str, count: int, seed: int) -> None:
    """Questions about one object and about several, in each image."""
    splits = multitarget.FILES[name]
    drawn = iter(draw_images(len(splits) * count, seed))
    for file in splits.values():
        entries = []
        for number in range(count):
            picture = next(drawn)
            height, width = picture.pixels.shape[:2]
            year = "train2014" if number % 2 == 0 and name == "muse" else "train2017"
            named = coco_name(picture.number) if year == "train2014" else f"{picture.number:012d}.jpg"
            save_image(root / "images" / year / named, picture.pixels)
            place = {"file_name": named if year == "train2014" else f"{year}/{named}"}
            if name == "muse" and year == "train2017":
                place = {"coco_url": f"http://images.cocodataset.org/{year}/{named}"}
            said = [(texts[0], [i]) for i, texts in picture.said.items()]
            said.append(("Which objects are there?", picture.visible))
            entries.append(
                {
                    **place,
                    "height": height,
                    "width": width,
                    "questions": [text for text, _ in said],
                    "answers": [[_answer(name, picture, i) for i in objects] for _, objects in said],
                }
            )
        write_json_atomic(root / file, entries)


def _answer(name: str, picture: DrawnImage, i: int) -> dict[str, Any]:
    mask = picture.mask(i)
    polygons = coco_polygons(mask) if name == "muse" else None
    return {"segmentation": polygons or mask_to_rle(mask), "category_name": picture.words(i)}
