"""An image with masks as HTML: outlines that say what they are, switches that hide them, no script.

The rules that all figures share stand in ``page.css``.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from instructseg.masks import mask_to_rle, rle_to_mask
from instructseg.polygons import mask_outlines
from instructseg.prediction import Prediction
from instructseg.visualization.overlay import colour

SIDE = 1600
"""Pixels of the longer side of the image that is shown."""


@dataclass(frozen=True)
class Region:
    """One answer, as the page keeps it: masks of large images are large.

    Attributes:
        instruction: as given.
        name: for the visitor: the instruction, with the label where it has several.
        score, presence: 0..1.
        text: the answer in words, to a question; there is no mask then.
        label: class of the object; by default the instruction.
        system: that answered; empty for InstructSeg.
        id: of the object, from 1.
        instruction_id: place of the instruction.
        rle: run lengths of the mask, whatever the presence.
        path: outlines in pixels of the image, as an SVG path; empty without a mask.
        drawn: the answer as an image, a PNG; empty for none.
        shown: the same for the page, made smaller if it is large, as a data URL.
    """

    instruction: str
    name: str
    score: float
    presence: float
    text: str | None
    label: str
    system: str
    id: int
    instruction_id: int
    rle: dict[str, object]
    path: str
    drawn: bytes = b""
    shown: str = ""

    @classmethod
    def of(cls, found: Prediction, name: str) -> Region:
        """The answer under a name, its mask encoded."""
        drawn, shown = b"", ""
        if found.drawn is not None:
            drawn, shown = encoded(found.drawn), _data_url(encoded(found.drawn, side=SIDE), "png")
        return cls(
            found.instruction,
            name,
            found.score,
            found.presence,
            found.text if not found.found else None,
            found.label,
            found.system,
            found.id,
            found.instruction_id,
            mask_to_rle(found.mask),
            svg_path(found.mask),
            drawn,
            shown,
        )

    def shows(self, threshold: float) -> bool:
        """Whether there is a mask, of at least this presence."""
        return bool(self.path) and self.presence >= threshold

    def prediction(self, threshold: float) -> Prediction:
        """The answer with its mask, which is empty below the threshold."""
        mask = rle_to_mask(self.rle)
        kept = mask if self.shows(threshold) else np.zeros_like(mask)
        return Prediction(
            kept,
            self.score,
            self.presence,
            self.instruction,
            text=self.text,
            label=self.label,
            id=self.id,
            instruction_id=self.instruction_id,
            drawn=_decoded(self.drawn),
            system=self.system,
        )


@dataclass(frozen=True)
class Figure:
    """An image and its answers, from which :meth:`html` is made at any threshold.

    Attributes:
        path: of the image.
        size: height and width in pixels.
        source: the image, made smaller, as a data URL.
        regions: the answers, in order.
    """

    path: Path
    size: tuple[int, int]
    source: str
    regions: tuple[Region, ...]

    @classmethod
    def of(cls, path: Path, image: np.ndarray, found: Sequence[Prediction]) -> Figure:
        """The figure of ``uint8[H, W, 3]`` and predictions without a threshold."""
        height, width = image.shape[:2]
        source = _data_url(encoded(image, "JPEG", SIDE), "jpeg")
        labels = dict[int, set[str]]()
        for one in found:
            labels.setdefault(one.instruction_id, set()).add(one.label)
        several = {place for place, some in labels.items() if len(some) > 1}
        names = [
            f"{one.instruction}: {one.label}" if one.instruction_id in several else one.instruction
            for one in found
        ]
        return cls(path, (height, width), source, tuple(map(Region.of, found, names)))

    def html(self, threshold: float) -> str:
        """The image with the masks of at least this presence, and a line for each answer."""
        entries = [(number, one, one.shows(threshold)) for number, one in enumerate(self.regions)]
        paths = "".join(_path(number, one) for number, one, shown in entries if shown)
        words = ", ".join(one.name for _, one, shown in entries if shown) or "nothing found"
        # of several hidden ones of a name
        said_once = {(one.instruction_id, one.name): number for number, one, _ in reversed(entries)}
        lines = "".join(
            _line(number, one, shown)
            for number, one, shown in entries
            if shown or said_once[one.instruction_id, one.name] == number
        )
        (height, width), said = self.size, html.escape(f"{self.path.name} with masks: {words}")
        return (
            f'<figure class="found"><div class="stage"><img src="{self.source}" width="{width}" '
            f'height="{height}" alt="{said}">'
            f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{paths}</svg></div>'
            f"<figcaption><ul>{lines}</ul></figcaption>{switches(len(entries))}</figure>"
        )


def svg_path(mask: np.ndarray) -> str:
    """Outlines of ``bool[H, W]`` in pixels, with holes by the even-odd rule; empty for an empty mask."""
    lines = [line for part in mask_outlines(mask, max(mask.shape) / SIDE / 2) for line in part]
    return "".join(f"M{'L'.join(f'{x:g},{y:g}' for x, y in line)}Z" for line in lines)


def tint_of(number: int) -> str:
    """The colour of an object by its id, as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour(max(0, number - 1)))


def encoded(image: np.ndarray, kind: str = "PNG", side: int | None = None) -> bytes:
    """``uint8[H, W, 3]`` as a file of a kind of Pillow's, made smaller if it is larger than ``side``."""
    from PIL import Image

    shown, file = Image.fromarray(image), BytesIO()
    if side is not None:
        shown.thumbnail((side, side))
    shown.save(file, kind, quality=90)
    return file.getvalue()


def _decoded(file: bytes) -> np.ndarray | None:
    """``uint8[H, W, 3]`` of what :func:`encoded` made; ``None`` for no file."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(file))) if file else None


def _data_url(file: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _path(number: int, region: Region) -> str:
    tint = tint_of(region.id)
    said = html.escape(f"{region.name} · {region.score:.2f}")
    return (
        f'<path class="m{number}" fill="{tint}" stroke="{tint}" fill-rule="evenodd" d="{region.path}">'
        f"<title>{said}</title></path>"
    )


def _line(number: int, region: Region, shown: bool) -> str:
    """An answer: words, a switch with the colour of its mask, or that there is none; and what was drawn."""
    name = html.escape(region.name)
    by = f' <span class="by">by {html.escape(region.system)}</span>' if region.system else ""
    drawn = f'<br><img src="{region.shown}" alt="answer to: {name}">' if region.shown else ""
    if region.text is not None:
        return f"<li>{name} <strong>{html.escape(region.text) or 'no reply'}</strong>{by}{drawn}</li>"
    if not shown and drawn:
        return f"<li>{name}{by}{drawn}</li>"
    if not shown:
        return f'<li class="none">{name} – nothing found, presence {region.presence:.2f}{by}</li>'
    tint = tint_of(region.id)
    return (
        f'<li><label class="m{number}"><input type="checkbox" class="m{number}" checked> '
        f'<span class="swatch" style="background:{tint}"></span>{name} – score {region.score:.2f}, '
        f"presence {region.presence:.2f}</label>{by}{drawn}</li>"
    )


def switches(count: int) -> str:
    """Style sheet by which the switches of a figure hide its masks, and its lines bring theirs out."""
    rules = "".join(
        f".found:has(input.m{n}:not(:checked)) path.m{n}{{display:none}}"
        f".found:has(label.m{n}:hover,label.m{n}:focus-within) path:not(.m{n}){{opacity:.15}}"
        for n in range(count)
    )
    return f"<style>{rules}</style>"
