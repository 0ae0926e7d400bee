"""Output formats: the table of them.

==========  ==============================  ===================================  ==============================
format      image ``photo.jpg``             video ``clip.mp4``                   content
==========  ==============================  ===================================  ==============================
overlay     ``photo_overlay.png``           ``clip_overlay.mp4``                 masks over the frames
outline     ``photo_outline.png``           ``clip_outline.mp4``                 outlines over the frames
masks       ``photo_masks/1-the-cat.png``   ``clip_masks/1-the-cat/00000.png``   0 and 255; soft: 0..255
drawn       ``photo_drawn/1-the-depth.png`` ``clip_drawn/1-the-cat/00000.png``   answers that are images, else
                                                                                 masks
cutouts     ``photo_cutouts/1-the-cat.png`` ``clip_cutouts/1-the-cat/00000.png`` colours, transparent outside
webm        ``photo_cutout.png``            ``clip_cutout.webm``                 the same of everything found
prores      ``photo_cutout.png``            ``clip_cutout.mov``                  the same as ProRes 4444
palette     ``photo_palette.png``           ``clip_palette/00000.png``           0 nothing, i the i-th prompt;
                                                                                 of several the best scored
rle         ``photo.json``                  ``clip.json``                        COCO run lengths and scores
csv         ``photo.csv``                   ``clip.csv``                         boxes and tracks
numpy       ``photo.npz``                   ``clip.npz``                         arrays
coco        ``photo_coco.json``             ``clip_coco.json``                   COCO instances
panoptic    ``photo_panoptic.json, .png``   ``clip_panoptic.json``, a folder     COCO panoptic
ytvis       ``photo_ytvis.json``            ``clip_ytvis.json``                  YouTube-VIS
davis       ``DAVIS/``                      ``DAVIS/``                           palette images by object
yolo        ``yolo/labels/photo.txt``       ``yolo/labels/clip/00000.txt``       YOLO segmentation
voc         ``VOC/``                        ``VOC/``                             boxes and palette images
labelme     ``labelme/photo.json``          ``labelme/clip/00000.json``          LabelMe
cvat        ``photo_cvat.xml``              ``clip_cvat.xml``                    CVAT 1.1
geojson     ``photo.geojson``               ``clip.geojson``                     outlines with holes
frames      ``frames/photo.png``            ``frames/clip/00000.png``            the frames themselves
==========  ==============================  ===================================  ==============================

A new format is a subclass of :class:`Format` and a row of :data:`FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterable

from instructseg.results.coco_formats import Coco, Panoptic, YouTubeVis
from instructseg.results.dataset_formats import DavisMasks, PascalVoc, Yolo
from instructseg.results.raster_formats import (
    Cutouts,
    Drawn,
    Frames,
    Masks,
    Outline,
    Overlay,
    Palette,
    ProRes,
    WebM,
)
from instructseg.results.result_format import Format
from instructseg.results.table_formats import BoxTable, NumpyArrays, RleJson
from instructseg.results.tool_formats import Cvat, GeoJson, LabelMe

_ALL: tuple[type[Format], ...] = (
    Overlay, Outline, Masks, Drawn, Cutouts, WebM, ProRes, Palette, RleJson, BoxTable, NumpyArrays, Coco,
    Panoptic,
    YouTubeVis, DavisMasks, Yolo, PascalVoc, LabelMe, Cvat, GeoJson, Frames,
)  # fmt: skip
FORMATS: dict[str, type[Format]] = {one.name: one for one in _ALL}
"""All output formats by name; of those that write the same kind of file, the first is the default for it."""
DEFAULT_FORMATS = ("overlay", "masks")


def parse_formats(given: Iterable[str]) -> tuple[str, ...]:
    """Names of formats, several in one string separated by commas.

    Raises:
        ValueError: an unknown format, or none.
    """
    names = tuple(name.strip() for text in given for name in text.split(",") if name.strip())
    for name in names:
        if name not in FORMATS:
            raise ValueError(f"unknown format '{name}': use {', '.join(FORMATS)}")
    if not names:
        raise ValueError(f"no format is given: use {', '.join(FORMATS)}")
    return names
