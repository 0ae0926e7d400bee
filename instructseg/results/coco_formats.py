"""Formats in COCO's JSON: instances, panoptic, and the video instances of YouTube-VIS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from instructseg.files import atomic_path, read_json, write_json_atomic
from instructseg.masks import mask_to_rle
from instructseg.polygons import mask_outlines
from instructseg.prediction import FrameResult, Prediction
from instructseg.results.manifest import Content
from instructseg.results.result_format import Format, Layout, ResultInfo, label_map
from instructseg.version import __version__

_INFO = {"description": "InstructSeg", "version": __version__}


class Coco(Format):
    """COCO instances: polygons, or run lengths where a mask has holes; both give the mask exactly.

    A frame lists under ``not_found`` the labels that it has no object of.
    """

    name, title = "coco", "COCO instances"
    places = ("{}_coco.json",) * 2
    image_files: ClassVar[tuple[str, ...]] = (".json",)
    video_files: ClassVar[tuple[str, ...]] = (".json",)
    gathered = "coco.json"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`."""
        write_json_atomic(target, merged((read_json(path) for path in parts.values()), "images", "image_id"))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects = self.objects(result)
        self._images.append(image_record(result, self.info, len(self._images) + 1))
        absent = list(dict.fromkeys(one.prediction.label for one in objects if not one.prediction.found))
        if absent:
            self._images[-1]["not_found"] = absent
        for one in objects:
            if one.prediction.found:
                self._annotations.append({
                    "id": len(self._annotations) + 1,
                    "image_id": len(self._images),
                    "category_id": one.category,
                    **shape_record(one.prediction),
                    "segmentation": _segmentation(one.prediction.mask),
                    "score": round(one.prediction.score, 6),
                    "presence": round(one.prediction.presence, 6),
                    "track_id": one.track,
                    "instruction": one.prediction.instruction,
                })  # fmt: skip

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._images:
            write_json_atomic(self.target, {
                "info": {**_INFO, **({"fps": self.info.fps} if self.info.video else {})},
                "images": self._images,
                "annotations": self._annotations,
                "categories": categories(self.labels),
            })  # fmt: skip


class Panoptic(Coco):
    """COCO panoptic: a PNG per frame, whose colours are ids of objects, and their JSON.

    Where masks overlap, the higher score has the pixel.
    """

    name, title = "panoptic", "COCO panoptic"
    places = ("{}_panoptic.json",) * 2
    image_files, video_files = (), ()
    gathered = "panoptic.json"

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        if not layout.video:
            return {target: None, target.with_suffix(".png"): None}
        return {target: None, target.with_suffix(""): Content((), ("",), layout.stems)}

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`."""
        read = [read_json(path) for path in parts.values()]
        for part, path in zip(read, parts.values(), strict=True):
            below = path.parent.relative_to(target.parent)
            for entry in part["annotations"]:
                entry["file_name"] = (below / entry["file_name"]).as_posix()
        write_json_atomic(target, merged(read, "images", "image_id"))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects = self.objects(result)
        order = label_map(objects, result.frame.shape[:2])
        segments = []
        for i, one in enumerate(objects, 1):
            seen = order == i
            if seen.any():
                shape = shape_record(Prediction(seen, 0.0, 0.0))
                segments.append({"id": one.track, "category_id": one.category, **shape})
        ids = np.array([0, *(one.track for one in objects)])[order]
        name = f"{self.target.stem}.png"
        if self.info.video:
            name = f"{self.target.stem}/{self.info.stem(result.index)}.png"
        _save_ids(self.target.parent / name, ids)
        self._images.append(image_record(result, self.info, len(self._images) + 1))
        entry = {"image_id": len(self._images), "file_name": name, "segments_info": segments}
        self._annotations.append(entry)


class YouTubeVis(Format):
    """YouTube-VIS: each object of a video with its run lengths by frame; ``null`` where it is not there."""

    name, title = "ytvis", "YouTube-VIS"
    places = ("{}_ytvis.json",) * 2
    image_files = video_files = (".json",)
    gathered = "ytvis.json"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._files: list[str] = []
        self._times: list[float | None] = []
        self._size = (0, 0)
        self._rows: dict[int, dict[str, Any]] = {}

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`."""
        write_json_atomic(target, merged((read_json(path) for path in parts.values()), "videos", "video_id"))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        self._size = result.frame.shape[:2]
        for one in self.objects(result):
            if not one.prediction.found:
                continue
            row = self._rows.setdefault(one.track, {"category_id": one.category, "frames": {}})
            row["frames"][len(self._files)] = {
                "segmentations": mask_to_rle(one.prediction.mask),
                **shape_record(one.prediction),
                "score": one.prediction.score,
            }
        self._files.append(self.info.file_of(result.index))
        self._times.append(None if result.time is None else round(result.time, 6))

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if not self._files:
            return
        video = {
            "id": 1, "width": self._size[1], "height": self._size[0], "length": len(self._files),
            "file_names": self._files, "fps": self.info.fps, "times": self._times,
        }  # fmt: skip
        rows = [self._row(number, track) for number, track in enumerate(sorted(self._rows), 1)]
        write_json_atomic(
            self.target,
            {"info": _INFO, "videos": [video], "annotations": rows, "categories": categories(self.labels)},
        )

    def _row(self, number: int, track: int) -> dict[str, Any]:
        frames = self._rows[track]["frames"]
        every = [frames.get(t) for t in range(len(self._files))]
        return {
            "id": number, "video_id": 1, "category_id": self._rows[track]["category_id"], "iscrowd": 0,
            "width": self._size[1], "height": self._size[0], "length": 1, "track_id": track,
            "score": round(sum(one["score"] for one in frames.values()) / len(frames), 6),
            "segmentations": [one and one["segmentations"] for one in every],
            "bboxes": [one and one["bbox"] for one in every],
            "areas": [one and one["area"] for one in every],
        }  # fmt: skip


def categories(labels: Sequence[str]) -> list[dict[str, Any]]:
    """Categories of COCO, in order, from 1."""
    return [{"id": i, "name": label, "supercategory": "", "isthing": 1} for i, label in enumerate(labels, 1)]


def image_record(result: FrameResult, info: ResultInfo, number: int) -> dict[str, Any]:
    """An image of COCO; that of a video has its index and time."""
    height, width = result.frame.shape[:2]
    record = {"id": number, "file_name": info.file_of(result.index), "width": width, "height": height}
    if info.video:
        record |= {"frame_index": result.index}
        record |= {} if result.time is None else {"time": round(result.time, 6)}
    return record


def shape_record(found: Prediction) -> dict[str, Any]:
    """Box, area and crowd flag of an annotation."""
    left, top, right, bottom = found.box or (0, 0, 0, 0)
    return {"bbox": [left, top, right - left, bottom - top], "area": found.area, "iscrowd": 0}


def merged(parts: Iterable[dict[str, Any]], kind: str, reference: str) -> dict[str, Any]:
    """One file of several: ids are counted anew, categories of one name are one.

    Args:
        parts: contents of the files.
        kind: ``"images"`` or ``"videos"``.
        reference: key of an annotation that refers to these.
    """
    whole: dict[str, Any] = {"info": _INFO, kind: [], "annotations": [], "categories": []}
    numbers: dict[str, int] = {}
    for part in parts:
        names = {entry["id"]: entry["name"] for entry in part["categories"]}
        for name in names.values():
            numbers.setdefault(name, len(numbers) + 1)
        offset = len(whole[kind])
        whole[kind] += [{**entry, "id": entry["id"] + offset} for entry in part[kind]]
        for entry in part["annotations"]:
            entry = {**entry, reference: entry[reference] + offset}
            if "segments_info" in entry:
                segments = entry["segments_info"]
                entry["segments_info"] = [
                    {**one, "category_id": numbers[names[one["category_id"]]]} for one in segments
                ]
            else:
                entry |= {"id": len(whole["annotations"]) + 1}
                entry |= {"category_id": numbers[names[entry["category_id"]]]}
            whole["annotations"].append(entry)
    whole["categories"] = categories(list(numbers))
    return whole


def _segmentation(mask: np.ndarray) -> Any:
    parts = mask_outlines(mask)
    if any(len(part) > 1 for part in parts):
        return mask_to_rle(mask)
    return [part[0].ravel().tolist() for part in parts]


def _save_ids(path: Path, ids: np.ndarray) -> None:
    """Ids ``int[H, W]`` as the colours of COCO panoptic: red, then 256 times green, then blue."""
    from PIL import Image

    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(colours).save(temporary, format="PNG")
