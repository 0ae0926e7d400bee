"""Writes small copies of what asks for text, and of one's own data; see ``layouts_images``."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from instructseg.data.datasets.vqa import POPE_CATEGORIES, SHORT_ANSWER
from instructseg.files import write_json_atomic, write_text_atomic
from instructseg.masks import save_palette_png
from instructseg.media import save_image
from recipes.nano.layouts.scenes import DrawnImage, draw_images, pixel_contours
from recipes.nano.scenes.objects import COLOURS

_MIX_FOLDERS = (
    "coco/train2017",
    "gqa/images",
    "ocr_vqa/images",
    "textvqa/train_images",
    "vg/VG_100K",
    "vg/VG_100K_2",
)
MMBENCH_COLUMNS = (
    "index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image", "source", "l2-category",
    "comment", "split",
)  # fmt: skip


def facts(picture: DrawnImage) -> list[tuple[str, str]]:
    """Questions about an image with their one-word answers."""
    return [
        (f"Is there a {picture.words(picture.visible[0])} in the image?", "yes"),
        (f"Is there a {picture.absent()} in the image?", "no"),
        ("How many things are in the image?", str(len(picture.visible))),
    ]


def write_llava(root: Path, count: int, seed: int) -> None:
    """Both files; one entry in four has no image, and ``<image>`` stands in front or behind."""
    mix: list[dict[str, Any]] = []
    instruct: list[dict[str, Any]] = []
    for number, picture in enumerate(draw_images(max(count, len(_MIX_FOLDERS)), seed)):
        image = f"{_MIX_FOLDERS[number % len(_MIX_FOLDERS)]}/{picture.number:012d}.jpg"
        save_image(root / image, picture.pixels)
        turns = [
            turn
            for q, a in facts(picture)
            for turn in ({"from": "human", "value": q}, {"from": "gpt", "value": a})
        ]
        turns[0]["value"] = f"<image>\n{turns[0]['value']}" if number % 2 else f"{turns[0]['value']}\n<image>"
        entry = {"id": f"{picture.number:012d}", "image": image, "conversations": turns}
        mix.append(entry)
        if number % 4 == 3:
            talk = [{"from": "human", "value": "Name a colour."}, {"from": "gpt", "value": "Blue."}]
            mix.append({"id": f"talk_{number}", "model": "", "conversations": talk})
        if image.startswith("coco"):
            instruct.append({**entry, "image": Path(image).name})
    write_json_atomic(root / "llava_v1_5_mix665k.json", mix)
    write_json_atomic(root / "llava_instruct_150k.json", instruct)


def write_vqav2(root: Path, count: int, seed: int) -> None:
    """Questions of test-dev, whose answers nobody has."""
    folder = root / "vqav2"
    asked = []
    for picture in draw_images(count, seed):
        image = f"COCO_test2015_{picture.number:012d}.jpg"
        save_image(folder / "test2015" / image, picture.pixels)
        for place, (text, _) in enumerate(facts(picture)):
            number = 1000 * picture.number + place
            asked.append(
                {"question_id": number, "image": image, "text": text + SHORT_ANSWER, "category": "default"}
            )
    write_jsonl(folder / "llava_vqav2_mscoco_test-dev2015.jsonl", asked)


def write_vqav2_val(root: Path, count: int, seed: int) -> None:
    """Questions of val2014 with ten answers each, one of them different."""
    folder = root / "vqav2"
    questions, annotations = [], []
    for picture in draw_images(count, seed):
        save_image(folder / "val2014" / f"COCO_val2014_{picture.number:012d}.jpg", picture.pixels)
        for place, (text, answer) in enumerate(facts(picture)):
            number = 1000 * picture.number + place
            questions.append({"image_id": picture.number, "question": text, "question_id": number})
            given = [{"answer": answer if i else "maybe", "answer_id": i + 1} for i in range(10)]
            annotations.append({"question_id": number, "image_id": picture.number, "answers": given})
    write_json_atomic(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions})
    write_json_atomic(folder / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})


def write_gqa(root: Path, count: int, seed: int) -> None:
    """Questions with their answers."""
    folder = root / "gqa"
    asked, known = [], {}
    for picture in draw_images(count, seed):
        image = f"n{picture.number}"
        save_image(folder / "data" / "images" / f"{image}.jpg", picture.pixels)
        for place, (text, answer) in enumerate(facts(picture)):
            number = f"20{picture.number}{place}"
            asked.append({"question_id": number, "image": f"{image}.jpg", "text": text + SHORT_ANSWER})
            known[number] = {"imageId": image, "question": text, "answer": answer}
    write_jsonl(folder / "llava_gqa_testdev_balanced.jsonl", asked)
    write_json_atomic(folder / "data" / "testdev_balanced_questions.json", known)


def write_pope(root: Path, count: int, seed: int) -> None:
    """The three categories, whose label files count from 1 each."""
    folder = root / "pope"
    pictures = draw_images(count, seed)
    asked: list[dict[str, Any]] = []
    for picture in pictures:
        save_image(folder / "val2014" / f"COCO_val2014_{picture.number:012d}.jpg", picture.pixels)
    for category in POPE_CATEGORIES:
        labels: list[dict[str, Any]] = []
        for picture in pictures:
            image = f"COCO_val2014_{picture.number:012d}.jpg"
            for text, answer in facts(picture)[:2]:
                labels.append({"question_id": len(labels) + 1, "image": image, "text": text, "label": answer})
                number = len(asked)
                text += SHORT_ANSWER
                asked.append({"question_id": number, "image": image, "text": text, "category": category})
        write_jsonl(folder / "coco" / f"coco_pope_{category}.json", labels)
    write_jsonl(folder / "llava_pope_test.jsonl", asked)


def write_scienceqa(root: Path, count: int, seed: int) -> None:
    """Multiple choice; every image has a question of text alone beside it."""
    folder = root / "scienceqa"
    problems: dict[str, dict[str, Any]] = {}
    asked = []
    for picture in draw_images(count, seed):
        text, choices, answer = colour_choice(picture)
        listed = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCD", choices, strict=False))
        with_image, without = str(2 * picture.number), str(2 * picture.number + 1)
        for number, head in ((with_image, "<image>\n"), (without, "")):
            problem = {"question": text, "choices": choices, "answer": answer, "subject": "natural science"}
            problems[number] = {**problem, "image": "image.png" if head else None, "split": "test"}
            turns = [
                {"from": "human", "value": f"{head}{text}\n{listed}"},
                {"from": "gpt", "value": "The answer."},
            ]
            image = {"image": f"{number}/image.png"} if head else {}
            asked.append({"id": number, **image, "conversations": turns})
        save_image(folder / "images" / "test" / with_image / "image.png", picture.pixels)
    write_json_atomic(folder / "problems.json", problems)
    write_json_atomic(folder / "pid_splits.json", {"test": list(problems)})
    write_json_atomic(folder / "llava_test_CQM-A.json", asked)


def colour_choice(picture: DrawnImage) -> tuple[str, list[str], int]:
    """A question, four colours of which one is right, and its place."""
    obj = picture.scene.objects[next(iter(picture.said))]
    names = sorted(COLOURS)
    start = (names.index(obj.colour) - picture.number) % len(names)
    choices = [names[(start + i) % len(names)] for i in range(4)]
    place = picture.number % 4
    right = choices.index(obj.colour) if obj.colour in choices else place
    choices[right] = obj.colour
    return f"What is the colour of the {obj.shape}?", choices, right


def write_mmbench(root: Path, count: int, seed: int) -> None:
    """Every question twice; the second row points to the image of the first, and has no hint."""
    table = io.StringIO()
    writer = csv.DictWriter(table, MMBENCH_COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    for picture in draw_images(count, seed):
        text, choices, right = colour_choice(picture)
        options = dict(zip("ABCD", choices, strict=True))
        row = {
            "question": text,
            "category": "colour",
            "source": "drawn",
            "l2-category": "perception",
            "split": "dev",
        }
        first = {
            **row,
            "index": picture.number,
            "hint": 'Look at the\n"shape".',
            "image": _jpeg(picture.pixels),
        }
        writer.writerow({**first, **options, "answer": "ABCD"[right]})
        other = {**row, "index": 1_000_000 + picture.number, "hint": "nan", "image": str(picture.number)}
        writer.writerow({**other, "A": choices[right], "B": picture.absent(), "C": "nan", "answer": "A"})
    write_text_atomic(root / "mmbench" / "mmbench_dev_20230712.tsv", table.getvalue())


def _jpeg(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def write_own(root: Path, count: int, seed: int) -> None:
    """A table with masks as palette PNG and LabelMe, no target, and unknown truth."""
    rows = []
    for picture in draw_images(count, seed):
        image, png = f"images/{picture.number}.jpg", f"masks/{picture.number}.png"
        labels = f"labels/{picture.number}.json"
        save_image(root / image, picture.pixels)
        save_palette_png(root / png, picture.scene.ids[0])
        height, width = picture.pixels.shape[:2]
        shapes = [
            {"label": str(i), "shape_type": "polygon", "points": part.tolist()}
            for i in picture.visible
            for part in pixel_contours(picture.mask(i)) or ()
        ]
        content = {"imagePath": f"../{image}", "imageHeight": height, "imageWidth": width, "shapes": shapes}
        write_json_atomic(root / labels, content)
        for i, texts in picture.said.items():
            rows.append([image, texts[0], png, i + 1])
        if shapes:
            rows.append([image, f"the object number {shapes[0]['label']}", labels, shapes[0]["label"]])
        rows.append([image, "everything", png, ";".join(str(i + 1) for i in picture.visible)])
        rows.append([image, picture.absent(), "none", ""])
        rows.append([image, "the nicest one", "", ""])
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["image", "instruction", "mask", "object"], *rows])
    write_text_atomic(root / "instructions.csv", table.getvalue())


def write_jsonl(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """One object a line."""
    write_text_atomic(path, "".join(json.dumps(entry) + "\n" for entry in entries))


write_vqa: Mapping[str, Callable[[Path, int, int], None]] = MappingProxyType(
    {
        "vqav2": write_vqav2,
        "vqav2_val": write_vqav2_val,
        "gqa": write_gqa,
        "pope": write_pope,
        "scienceqa": write_scienceqa,
    }
)
"""Name -> writer, as ``vqa.BENCHMARKS`` names the openers."""
