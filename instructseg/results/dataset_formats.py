"""Formats of data sets with a file per image: DAVIS, YOLO and Pascal VOC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from instructseg.files import write_bytes_atomic, write_text_atomic
from instructseg.masks import save_palette_png
from instructseg.polygons import keyhole, mask_outlines
from instructseg.prediction import FrameResult
from instructseg.results.manifest import Content
from instructseg.results.raster_formats import with_edges
from instructseg.results.result_format import MAX_PALETTE, Format, Layout, ResultInfo, label_map, save_times
from instructseg.yaml_text import parse


class DavisMasks(Format):
    """Palette images with the ids of objects, in the folders of DAVIS; of several masks the best scored."""

    name, title = "davis", "DAVIS"
    places = ("DAVIS/Annotations/Full-Resolution/{}",) * 2
    gathered = "DAVIS/ImageSets/2017/val.txt"
    gathers_one = True

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._times: list[tuple[int, str, float | None]] = []

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        parts: dict[Path, Content | None] = {target: Content((), ("",), layout.stems)}
        return {**parts, _times_beside(target, "Annotations"): None} if layout.video else parts

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`; lists all sequences of the folder."""
        root = target.parents[2] / "Annotations" / "Full-Resolution"
        names = sorted({path.parent.relative_to(root).as_posix() for path in root.rglob("*.png")})
        write_text_atomic(target, "".join(f"{name}\n" for name in names))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects = self.objects(result)
        if any(one.track > MAX_PALETTE for one in objects):
            raise ValueError(f"{self.target}: DAVIS has room for {MAX_PALETTE} objects: leave out -f davis")
        ids = np.array([0, *(one.track for one in objects)])[label_map(objects, result.frame.shape[:2])]
        name = f"{self.info.stem(result.index)}.png"
        save_palette_png(self.target / name, ids.astype(np.uint8))
        self._times.append((result.index, name, result.time))

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self.info.video and self._times:
            save_times(_times_beside(self.target, "Annotations"), self._times, self.info)


class Yolo(Format):
    """YOLO segmentation: a line per object with its class and outline in shares of width and height.

    Parts and holes of an object are joined by bridges without width. An image without objects has an empty
    file.
    """

    name, title = "yolo", "YOLO labels"
    places = ("yolo/labels/{}.txt", "yolo/labels/{}")
    gathered = "yolo/data.yaml"
    gathers_one = True
    tolerance = 1.0

    def __init__(self, target: Path, info: ResultInfo) -> None:
        super().__init__(target, info)
        self._times: list[tuple[int, str, float | None]] = []

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        if not layout.video:
            return {target: None}
        return {target: Content((), ("",), layout.stems, ".txt"), _times_beside(target, "labels"): None}

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`.

        Raises:
            ValueError: labels of other runs in the folder have other classes.
        """
        import yaml

        names, own = list(dict.fromkeys(instructions)), set(parts.values())
        others = [path for path in target.parent.rglob("labels/**/*.txt") if not own & {path, *path.parents}]
        before = parse(target.read_text("utf-8"), str(target)) if target.is_file() else {}
        if others and before.get("names", names) != names:
            raise ValueError(f"{target} has other classes, those of {others[0]}: choose another --output")
        content = {"path": ".", "train": "images", "val": "images", "nc": len(names), "names": names}
        write_text_atomic(target, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        height, width = result.frame.shape[:2]
        lines = []
        for one in self.objects(result):
            if one.category > len(set(self.info.labels or self.info.instructions)):
                raise ValueError(
                    f"{self.target}: '{one.prediction.label}' is no prompt, and so no class of YOLO"
                )
            if one.prediction.found:
                points = _outline(one.prediction.mask, self.tolerance) / (width, height)
                lines.append(" ".join([str(one.category - 1), *(f"{value:.6f}" for value in points.ravel())]))
        path = self.target
        if self.info.video:
            path = self.target / f"{self.info.stem(result.index)}.txt"
            self._times.append((result.index, path.name, result.time))
        write_text_atomic(path, "".join(f"{line}\n" for line in lines))

    def close(self, error: BaseException | None) -> None:
        """See :meth:`Format.close`."""
        if self._times:
            save_times(_times_beside(self.target, "labels"), self._times, self.info)


class PascalVoc(Format):
    """Pascal VOC: an XML of boxes, and palette images by class and by object with 255 along outlines."""

    name, title = "voc", "Pascal VOC"
    places = ("VOC/Annotations/{}.xml", "VOC/Annotations/{}")
    gathered = "VOC/ImageSets/Segmentation/val.txt"
    gathers_one = True
    edge = 2

    @classmethod
    def contents(cls, target: Path, layout: Layout) -> dict[Path, Content | None]:
        """See :meth:`Format.contents`."""
        images = [_sibling(target, "Annotations", kind) for kind in ("SegmentationClass", "SegmentationObject")]
        if not layout.video:
            return {target: None, **{image.with_suffix(".png"): None for image in images}}
        return {
            target: Content((), ("",), layout.stems, ".xml"),
            **{image: Content((), ("",), layout.stems) for image in images},
        }

    @classmethod
    def gather(cls, target: Path, parts: Mapping[str, Path], instructions: Sequence[str]) -> None:
        """See :meth:`Format.gather`; lists all images of the folder."""
        root = target.parents[2] / "Annotations"
        names = sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.xml"))
        write_text_atomic(target, "".join(f"{name}\n" for name in names))

    def write(self, result: FrameResult) -> None:
        """See :meth:`Format.write`."""
        objects = self.objects(result)
        order = label_map(objects, result.frame.shape[:2])
        xml = self.target / f"{self.info.stem(result.index)}.xml" if self.info.video else self.target
        if any(max(one.track, one.category) > MAX_PALETTE for one in objects):
            raise ValueError(f"{xml}: Pascal VOC has room for {MAX_PALETTE} objects: leave out -f voc")
        for kind, numbers in (
            ("SegmentationClass", [one.category for one in objects]),
            ("SegmentationObject", [one.track for one in objects]),
        ):
            values = np.array([0, *numbers])[order]
            image = _sibling(xml, "Annotations", kind).with_suffix(".png")
            save_palette_png(image, with_edges(values, objects, self.info.edge or self.edge))
        root = ElementTree.Element("annotation")
        file = PurePosixPath(self.info.file_of(result.index))
        _add(root, "folder", str(file.parent))
        _add(root, "filename", file.name)
        if result.time is not None and self.info.video:
            _add(root, "time", f"{result.time:.6f}")
            _add(root, "fps", f"{self.info.fps:g}")
        height, width = result.frame.shape[:2]
        _add(root, "size", {"width": width, "height": height, "depth": 3})
        _add(root, "segmented", 1)
        for one in objects:
            box = one.prediction.box
            if box is not None:
                corners = (
                    box[0] + 1,
                    box[1] + 1,
                    box[2],
                    box[3],
                )  # pixels counted from 1, the last one included
                bounds = dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
                values = {"name": one.prediction.label, "pose": "Unspecified", "truncated": 0, "difficult": 0}
                _add(root, "object", {**values, "bndbox": bounds, "score": round(one.prediction.score, 6)})
        ElementTree.indent(root)
        write_bytes_atomic(xml, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add(parent: ElementTree.Element, name: str, value: Any) -> None:
    """An element with a text, or with the elements of a mapping."""
    child = ElementTree.SubElement(parent, name)
    if isinstance(value, dict):
        for key, one in value.items():
            _add(child, key, one)
    else:
        child.text = str(value)


def _outline(mask: np.ndarray, tolerance: float) -> np.ndarray:
    """One outline ``float64[n, 2]`` of a mask, simplified as far as something is left of it."""
    return keyhole(mask_outlines(mask, tolerance) or mask_outlines(mask))


def _sibling(path: Path, here: str, there: str) -> Path:
    """The same path below another folder of a data set."""
    parts = list(path.parts)
    place = len(parts) - 1 - parts[::-1].index(here)
    parts[place] = there
    return Path(*parts)


def _times_beside(target: Path, here: str) -> Path:
    """Times of a sequence, outside of the folder whose files are all annotations."""
    found = _sibling(target, here, "Times")
    return found.with_name(f"{found.name}.csv")
