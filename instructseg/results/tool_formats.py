"""Formats of annotation tools and maps: LabelMe, CVAT and GeoJSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from instructseg.files import write_bytes_atomic, write_json_atomic
from instructseg.polygons import keyhole, mask_outlines
from instructseg.prediction import FrameResult
from instructseg.results.raster_formats import Frames
from instructseg.results.result_format import Format, FoundObject, FrameFormat, ResultInfo

_TOLERANCE = 1.0
"""Pixels by which an outline to be edited may miss the mask."""


class LabelMe(FrameFormat):
    """LabelMe: a JSON per image; parts of an object are polygons of a group, holes are joined by bridges.

    A flag says what was not found.
    """

    name, title = "labelme", "LabelMe"
    places = ("labelme/{}.json", "labelme/{}")
    image_files = (".json",)
    suffix = ".json"

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects, path = self.objects(result), self.file(result)
        height, width = result.frame.shape[:2]
        write_json_atomic(path, {
            "version": "5.5.0",
            "flags": {f"not found: {one.label}": True for one in result.predictions if not one.found},
            "shapes": [shape for one in objects for shape in _shapes(one)],
            "imagePath": self._image(path, result.index),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
            **({} if result.time is None else {"time": round(result.time, 6), "fps": self.info.fps}),
        }, indent=2)  # fmt: skip

    def _image(self, path: Path, index: int) -> str:
        """Path of the image as LabelMe looks for it: relative to the JSON."""
        info, image = self.info, self.info.path
        if image is not None and info.video:
            image = image / info.frame_names[index] if index < len(info.frame_names) else None
        if image is None:  # where the format "frames" writes it
            own = Path(self.places[info.video].format(info.name)).parts
            if self.target.parts[-len(own) :] != own:  # one file, not a folder of results
                return info.file_of(index).rpartition("/")[2]
            image = Frames.place(self.target.parents[len(own) - 1], info.name, info.video)
            image = image / f"{info.stem(index)}.png" if info.video else image
        try:
            return Path(os.path.relpath(image.resolve(), path.parent.resolve())).as_posix()
        except ValueError:  # on another drive
            return str(image.resolve())


class Cvat(Format):
    """CVAT 1.1: masks of images, tracks of polygons in a video."""

    name, title = "cvat", "CVAT"
    places = ("{}_cvat.xml",) * 2
    image_files = video_files = (".xml",)
    gathered = "cvat.xml"

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._root = ElementTree.Element("annotations")
        ElementTree.SubElement(self._root, "version").text = "1.1"
        self._tracks_xml: dict[int, ElementTree.Element] = {}
        self._shown: dict[int, str] = {}
        self._count = 0

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`; tracks of several videos do not go into one file."""
        whole = ElementTree.Element("annotations")
        ElementTree.SubElement(whole, "version").text = "1.1"
        labels: list[str] = []
        images = []
        for path in parts.values():
            root = ElementTree.parse(path).getroot()
            labels += [str(name.text) for name in root.iterfind("meta/task/labels/label/name")]
            images += root.findall("image")
        _describe(whole, list(dict.fromkeys(labels)), {"size": len(images), "mode": "annotation"})
        for number, image in enumerate(images):
            image.set("id", str(number))
            whole.append(image)
        _save_xml(target, whole)

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        self._count += 1
        self._size = result.frame.shape[:2]
        objects = [one for one in self.objects(result) if one.prediction.found]
        if self.info.video:
            self._write_tracks(result.index, objects)
            return
        height, width = self._size
        place = {"id": "0", "name": self.info.file_of(0), "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(self._root, "image", place)
        for one in objects:
            ElementTree.SubElement(image, "mask", {"label": one.prediction.label, **_cvat_mask(one)})

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if not self._count:
            return
        for track, xml in self._tracks_xml.items():
            last = xml[-1]
            if int(last.get("frame", 0)) < self._count - 1 and last.get("outside") == "0":
                self._shape(xml, self._count - 1, self._shown[track], outside=True)
        details: dict[str, Any] = {
            "size": self._count,
            "mode": "interpolation" if self.info.video else "annotation",
        }
        if self.info.video:
            details |= {"start_frame": 0, "stop_frame": self._count - 1, "fps": self.info.fps}
            details |= {"original_size": {"width": self._size[1], "height": self._size[0]}}
        _describe(self._root, self.labels, details)
        _save_xml(self.target, self._root)

    def _write_tracks(self, index: int, objects: Sequence[FoundObject]) -> None:
        for one in objects:
            track = self._tracks_xml.get(one.track)
            if track is None:
                given = {"id": str(one.track - 1), "label": one.prediction.label, "source": "auto"}
                track = self._tracks_xml[one.track] = ElementTree.SubElement(self._root, "track", given)
            outline = keyhole(_outlines(one.prediction.mask))
            self._shown[one.track] = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline)
            self._shape(track, index, self._shown[one.track], outside=False)
        seen = {one.track for one in objects}
        for number, track in self._tracks_xml.items():
            if number not in seen and track[-1].get("outside") == "0":
                self._shape(track, index, self._shown[number], outside=True)

    @staticmethod
    def _shape(track: ElementTree.Element, index: int, points: str, *, outside: bool) -> None:
        ElementTree.SubElement(track, "polygon", {
            "frame": str(index), "keyframe": "1", "outside": str(int(outside)), "occluded": "0",
            "points": points, "z_order": "0",
        })  # fmt: skip


class GeoJson(Format):
    """GeoJSON in pixels, x to the right and y down: exact outlines with holes.

    What was not found is a feature without geometry.
    """

    name, title = "geojson", "GeoJSON"
    places = ("{}.geojson",) * 2
    image_files = video_files = (".geojson",)

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._features: list[dict[str, Any]] = []
        self._count = 0

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        self._count += 1
        for one in self.objects(result):
            found = one.prediction
            properties = {
                "label": found.label, "instruction": found.instruction, "id": one.track,
                "score": round(found.score, 6), "presence": round(found.presence, 6), "area": found.area,
            }  # fmt: skip
            if self.info.video:
                properties |= {"frame": result.index, "time": result.time}
            parts = [
                [_ring(line, hole > 0) for hole, line in enumerate(part)] for part in mask_outlines(found.mask)
            ]
            geometry = {"type": "MultiPolygon", "coordinates": parts} if parts else None
            self._features.append({"type": "Feature", "geometry": geometry, "properties": properties})

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._count:
            about = {"source": self.info.source, **({"fps": self.info.fps} if self.info.video else {})}
            write_json_atomic(self.target, {"type": "FeatureCollection", **about, "features": self._features})


def _shapes(one: FoundObject) -> list[dict[str, Any]]:
    """Polygons of LabelMe."""
    return [
        {
            "label": one.prediction.label,
            "points": keyhole([part]).tolist(),
            "group_id": one.track,
            "description": one.prediction.instruction,
            "shape_type": "polygon",
            "flags": {},
            "score": round(one.prediction.score, 6),
        }
        for part in _outlines(one.prediction.mask)
    ]


def _outlines(mask: np.ndarray) -> list[list[np.ndarray]]:
    """Simplified outlines, as far as something is left of them."""
    return mask_outlines(mask, _TOLERANCE) or mask_outlines(mask)


def _cvat_mask(one: FoundObject) -> dict[str, str]:
    """Run lengths of CVAT: by rows of the box, background first."""
    left, top, right, bottom = one.prediction.box or (0, 0, 0, 0)
    inside = one.prediction.mask[top:bottom, left:right].ravel()
    turns = np.flatnonzero(np.diff(inside)) + 1
    runs = np.diff([0, *turns, len(inside)])
    counts = [0, *runs] if inside[0] else list(runs)
    return {
        "source": "auto", "occluded": "0", "rle": ", ".join(map(str, counts)),
        "left": str(left), "top": str(top),
        "width": str(right - left), "height": str(bottom - top), "z_order": "0",
    }  # fmt: skip


def _describe(root: ElementTree.Element, labels: Sequence[str], details: Mapping[str, Any]) -> None:
    """The part ``meta`` of a file of CVAT."""
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    for name, value in details.items():
        element = ElementTree.SubElement(task, name)
        if isinstance(value, dict):
            for part, number in value.items():
                ElementTree.SubElement(element, part).text = str(number)
        else:
            element.text = str(value)
    names = ElementTree.SubElement(task, "labels")
    for label in labels:
        ElementTree.SubElement(ElementTree.SubElement(names, "label"), "name").text = label
    root.insert(1, meta)


def _save_xml(path: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    write_bytes_atomic(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _ring(line: np.ndarray, hole: bool) -> list[list[float]]:
    """A closed ring; outer ones turn left and holes right, as RFC 7946 says."""
    x, y = line.T
    left = float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) > 0
    points = line if left != hole else line[::-1]
    return [*points.tolist(), points[0].tolist()]
