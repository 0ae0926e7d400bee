"""Writes small copies of Ref-YouTube-VOS in its three layouts, from drawn videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.datasets.refytvos import CONVERTED
from instructseg.files import write_json_atomic
from instructseg.masks import save_binary_png
from recipes.nano.layouts.clips import (
    DrawnClip,
    frame_names,
    numbered,
    sentences,
    write_counts,
    write_frames,
    write_palette,
)

Splits = Mapping[str, Sequence[DrawnClip]]
"""Split -> its videos."""


def write_refytvos(root: Path, splits: Splits) -> None:
    """The 2021 files, with ``train``, ``valid`` and ``test``, and masks of valid per expression."""
    metas: dict[str, dict[str, Any]] = {split: {} for split in splits}
    for split, clips in splits.items():
        # the test videos are listed in the valid file too, and lie in its folder
        folder = root / ("train" if split == "train" else "valid")
        for clip in clips:
            names = frame_names(clip, step=5)
            write_frames(folder / "JPEGImages" / clip.name, clip, names)
            entries = {
                number: {"exp": text} | ({"obj_id": str(i + 1)} if split == "train" else {})
                for number, text, i in numbered(clip)
            }
            metas[split][clip.name] = {"expressions": entries, "frames": names}
            if split == "train":
                write_palette(folder / "Annotations" / clip.name, clip, names)
            elif split == "valid":
                for number, _, i in numbered(clip):
                    for t, name in enumerate(names):
                        path = folder / "Annotations" / clip.name / number / f"{name}.png"
                        save_binary_png(path, clip.mask([i], t))
    metas["valid"] |= metas["test"]
    for split, videos in metas.items():
        write_json_atomic(root / "meta_expressions" / split / "meta_expressions.json", {"videos": videos})
    write_json_atomic(root / "train" / "meta.json", {"videos": {c.name: _objects(c) for c in splits["train"]}})
    counts = {split: (len(splits[split]), sentences(splits[split])) for split in ("train", "valid")}
    write_counts(root, counts)


def _objects(clip: DrawnClip, said: bool = False) -> dict[str, Any]:
    """The objects of a video as ``meta.json`` has them, and the 2020 files with what is ``said``."""
    names = frame_names(clip, step=5)
    objects = {}
    for i in clip.objects:
        entry: dict[str, Any] = {"category": clip.scene.objects[i].shape}
        if said:
            entry |= {"expressions": clip.said[i], "expressions_first_frame": clip.said[i][:1]}
        entry["frames"] = [name for t, name in enumerate(names) if clip.scene.area(i, t)]
        objects[str(i + 1)] = entry
    return {"objects": objects}


def write_refytvos_2020(root: Path, splits: Splits) -> None:
    """The 2020 files, with ``train`` and ``valid``."""
    for split, clips in splits.items():
        for clip in clips:
            names = frame_names(clip, step=5)
            write_frames(root / split / "JPEGImages" / clip.name, clip, names)
            write_palette(root / split / "Annotations" / clip.name, clip, names)
        meta = {"videos": {clip.name: _objects(clip, said=True) for clip in clips}}
        write_json_atomic(root / "meta_expressions" / split / "meta_expressions.json", meta)
    write_counts(root, {split: (len(clips), sentences(clips)) for split, clips in splits.items()})


def write_refytvos_converted(root: Path, splits: Splits) -> None:
    """The converted files, with ``train`` and ``valid``.

    The first object of a training video keeps the frames where it is not visible, as null; from the others
    such frames are left out, as the converter does.
    """
    videos: dict[str, list[dict[str, Any]]] = {"train": [], "valid": []}
    annotations: list[dict[str, Any]] = []
    for split, clips in splits.items():
        for clip in clips:
            names = frame_names(clip, step=5)
            write_frames(root / split / "JPEGImages" / clip.name, clip, names)
            for entry in _converted_objects(clip) if split == "train" else _converted_expressions(clip):
                annotation = entry.pop("annotation", None)
                number = len(videos[split]) + 1
                videos[split].append({"id": number, **entry})
                if annotation is not None:
                    annotations.append({"id": number, "video_id": number, **annotation})
    categories = [{"supercategory": "object", "id": 1, "name": "object"}]
    train = {"videos": videos["train"], "annotations": annotations, "categories": categories}
    write_json_atomic(root / CONVERTED["train"], train)
    write_json_atomic(root / CONVERTED["valid"], {"videos": videos["valid"]})
    said = sentences(splits["train"]), sentences(splits["valid"])
    found = {
        "converted/train": (len(annotations), said[0]),
        "converted/valid": (len(splits["valid"]), said[1]),
    }
    write_counts(root, found)


def _converted_video(clip: DrawnClip, kept: Sequence[int], expressions: Sequence[str]) -> dict[str, Any]:
    height, width = clip.size
    names = frame_names(clip, step=5)
    return {
        "height": height,
        "width": width,
        "length": len(kept),
        "file_names": [f"{clip.name}/{names[t]}.jpg" for t in kept],
        "expressions": list(expressions),
    }


def _converted_objects(clip: DrawnClip) -> list[dict[str, Any]]:
    entries = []
    for i in clip.objects:
        track = clip.track([i])
        kept = [t for t, rle in enumerate(track) if rle is not None or i == 0]
        segmentations = [track[t] for t in kept]
        boxes = [rle and [0, 0, rle["size"][1], rle["size"][0]] for rle in segmentations]
        annotation = {"iscrowd": 0, "category_id": 1, "bboxes": boxes, "segmentations": segmentations}
        entries.append({**_converted_video(clip, kept, clip.said[i]), "annotation": annotation})
    return entries


def _converted_expressions(clip: DrawnClip) -> list[dict[str, Any]]:
    return [
        {**_converted_video(clip, range(len(clip)), [text]), "video": clip.name, "exp_id": number}
        for number, text, _ in numbered(clip)
    ]
