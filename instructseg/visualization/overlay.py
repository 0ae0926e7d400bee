"""Masks over an image: tint, outline, and a caption with the color of each instruction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Colour = tuple[int, int, int]
"""RGB, 0..255 each."""

# Okabe and Ito's colours, distinct in every kind of colour vision; those that stand out of photos first
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (240, 228, 66),
    (0, 114, 178),
)

CAPTION_SHARE = 0.45
"""Largest height of the caption, as a share of the image's."""
COVERED_SHARE = 0.9
"""Smallest hidden share of a mask reported as covered."""
NOT_FOUND, COVERED = "not found", "covered"
"""Captions of a prediction without a mask, and of one hidden by later ones."""
_DARK, _WIDEST = 20, "0.00"
_COUNT = re.compile(r" x\d+")
Legend = Literal["below", "inside", "none"]
"""Place of the caption: below the image, over its bottom, or nowhere; the last two keep the image's size."""


def colour(index: int) -> Colour:
    """The colour of the object ``index``, the same in every image; from the eighth on, lighter shades."""
    turn, place = divmod(index, len(PALETTE))
    light = 0.45 * (turn % 2) + 0.2 * (turn > 1)
    red, green, blue = (round(value + (255 - value) * light) for value in PALETTE[place])
    return red, green, blue


class Drawable(Protocol):
    """Parts of a :class:`~instructseg.prediction.Prediction` that are drawn."""

    @property
    def mask(self) -> np.ndarray:
        """``bool[H, W]``."""

    @property
    def found(self) -> bool:
        """Whether the mask has a pixel."""

    @property
    def score(self) -> float:
        """0..1."""

    @property
    def label(self) -> str:
        """The caption."""

    @property
    def id(self) -> int:
        """Of the object, from 1, which chooses its colour; 0 for none."""

    @property
    def instruction_id(self) -> int:
        """Of the instruction; its objects share a line of the caption."""


def draw_predictions(
    frame: np.ndarray, predictions: Sequence[Drawable], *, legend: Legend = "below", alpha: float = 0.5
) -> np.ndarray:
    """Paints predictions over their frame, with a caption of labels and scores.

    The caption has a line for each instruction and label, with the colours, the best score and the number of
    its objects. It marks what was not found, without a colour, and objects hidden by later ones (two
    instructions for the same object) as covered.

    Args:
        frame: ``uint8[H, W, 3]`` RGB; not modified.
        predictions: an object has the colour of its id, one without an id that of its place.
        legend: place of the caption.
        alpha: strength of the tint; 0 leaves outlines alone, and the colours inside visible.

    Returns:
        As of :func:`draw_masks`; of the same size for all frames of a size with these instructions.

    Raises:
        ValueError: a mask is of another size, ``alpha`` is outside 0..1, or ``legend`` is unknown.
    """
    masks = [one.mask for one in predictions]
    _check(frame, masks, None, None, alpha, None)
    if legend not in ("below", "inside", "none"):
        raise ValueError(f"unknown legend '{legend}': use below, inside or none")
    colours = [colour(one.id - 1 if one.id else place) for place, one in enumerate(predictions)]
    painted = _paint(frame, masks, alpha, colours)
    if not predictions or legend == "none":
        return painted
    hidden, entries = covered(masks), list[_Entry]()
    places = range(len(predictions))
    for (_, label), line in groupby(places, lambda i: (predictions[i].instruction_id, predictions[i].label)):
        found = [i for i in line if predictions[i].found]
        note = f"{max(predictions[i].score for i in found):.2f}" if found else NOT_FOUND
        note += f" x{len(found)}" if len(found) > 1 else ""
        note += f", {COVERED}" if found and hidden.issuperset(found) else ""
        entries.append((_plain(label), note, [colours[i] for i in found]))
    return _caption(painted, entries, (f"{_WIDEST}, {COVERED}", NOT_FOUND), legend == "below")


def covered(masks: Sequence[np.ndarray]) -> set[int]:
    """Places of the masks ``bool[H, W]`` that lie below later ones, to :data:`COVERED_SHARE` at least."""
    found: set[int] = set()
    later: np.ndarray | None = None
    for place in range(len(masks) - 1, -1, -1):
        mask = masks[place].astype(bool)
        area = int(mask.sum())
        if later is not None and area and int((mask & later).sum()) >= COVERED_SHARE * area:
            found.add(place)
        later = mask.copy() if later is None else later | mask
    return found


def draw_masks(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    *,
    scores: Sequence[float] | None = None,
    alpha: float = 0.5,
    colors: Sequence[Colour] | None = None,
    below: bool = False,
) -> np.ndarray:
    """Paints masks over an image, later ones over earlier ones.

    The caption stands on a dark strip over the bottom of the image or below it, one line per label (more if it
    is long), no higher than :data:`CAPTION_SHARE` of the image; the rest is cut and marked by ``…``.

    Args:
        image: ``uint8[H, W, 3]`` RGB; not modified.
        masks: ``bool[H, W]`` each.
        labels: one per mask, usually the instructions, in any script (the built-in font shows boxes for
            missing characters); ``None`` for no caption.
        scores: one per label, 0..1, shown after it.
        alpha: strength of the tint, 0 (outline only) to 1.
        colors: one per mask; ``None`` for :func:`colour`.
        below: whether the caption stands below the image and hides nothing.

    Returns:
        ``uint8[H, W, 3]`` RGB, of its own memory; with a caption ``below`` higher, by as much for all images
        of this size with these labels, whatever their scores.

    Raises:
        ValueError: a mask is of another size, the counts do not match, or ``alpha`` is outside 0..1.
    """
    _check(image, masks, labels, scores, alpha, colors)
    chosen = list(colors) if colors is not None else [colour(i) for i in range(len(masks))]
    painted = _paint(image, masks, alpha, chosen)
    if not labels:
        return painted
    notes = [None] * len(labels) if scores is None else [f"{score:.2f}" for score in scores]
    entries: list[_Entry] = [
        (_plain(label), note, [tint]) for label, note, tint in zip(labels, notes, chosen, strict=True)
    ]
    return _caption(painted, entries, (_WIDEST,), below)


def _paint(
    image: np.ndarray, masks: Sequence[np.ndarray], alpha: float, chosen: Sequence[Colour]
) -> np.ndarray:
    """A copy with tints, and outlines over them all."""
    painted = image.copy()
    for mask, tint in zip(masks, chosen, strict=True):
        inside = mask.astype(bool)
        painted[inside] = np.rint((1 - alpha) * painted[inside] + alpha * np.array(tint)).astype(np.uint8)
    for mask, tint in zip(masks, chosen, strict=True):
        _outline(painted, mask, tint)
    return painted


def _check(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[str] | None,
    scores: Sequence[float] | None,
    alpha: float,
    colors: Sequence[Colour] | None,
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the image must be uint8[H, W, 3], got {image.dtype}{list(image.shape)}")
    for i, mask in enumerate(masks):
        if mask.shape != image.shape[:2]:
            raise ValueError(f"mask {i} has the shape {mask.shape}, the image {image.shape[:2]}")
    for name, values in (("labels", labels), ("scores", scores), ("colors", colors)):
        if values is not None and len(values) != len(masks):
            raise ValueError(f"{len(values)} {name} for {len(masks)} masks")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in 0..1, got {alpha}")


def _outline(image: np.ndarray, mask: np.ndarray, tint: Colour) -> None:
    """A line in the mask's colour, on larger images between two thin dark ones; in place.

    There is none along the border of the image, where the mask is cut.
    """
    import cv2

    line = max(1, round(min(image.shape[:2]) / 250))
    beyond = line + 2
    widened = np.pad(mask.astype(np.uint8), beyond, mode="edge")
    contours, _ = cv2.findContours(widened, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    at = (-beyond, -beyond)
    if line == 1:  # smoothed, it would fade
        cv2.drawContours(image, contours, -1, tint, line, cv2.LINE_8, offset=at)
        return
    cv2.drawContours(image, contours, -1, (20, 20, 20), line + 2, cv2.LINE_AA, offset=at)
    cv2.drawContours(image, contours, -1, tint, line, cv2.LINE_AA, offset=at)


def _plain(text: str) -> str:
    """One line for Pillow: no line feeds, no half surrogates."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


_Entry = tuple[str, str | None, Sequence[Colour]]
"""A label, the note behind it, and the colours of its objects."""


def _caption(image: np.ndarray, entries: Sequence[_Entry], widest: Sequence[str], below: bool) -> np.ndarray:
    """The image with a strip of text lines, each label's first line led by a swatch of its colours.

    The strip has room for any of ``widest`` in the place of a note.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = image.shape[:2]
    size = int(np.clip(min(height, width) / 24, 10, 40))
    font = ImageFont.load_default(size=size)
    step, margin = round(size * 1.4), round(size * 0.6)
    indent = margin + round(size * 1.3)

    lines: list[tuple[str, Sequence[Colour]]] = []
    for text, note, tints in entries:
        if note is None:
            broken = _wrap(text, font, width - indent - margin)
        else:
            broken = _noted(text, note, widest, font, width - indent - margin)
        lines += [(line, () if place else tints) for place, line in enumerate(broken)]
    room = max(1, int((CAPTION_SHARE * height - margin) // step))
    if len(lines) > room:
        last, swatch = lines[room - 1]
        lines = [*lines[: room - 1], (_shorten(last + " …", font, width - indent - margin), swatch)]
    strip = len(lines) * step + margin
    if below:
        top, painted = height, np.pad(image, ((0, strip), (0, 0), (0, 0)), constant_values=_DARK)
    else:
        top, painted = max(0, height - strip), image.copy()
        painted[top:] = (painted[top:] * 0.25).astype(np.uint8)
    canvas = Image.fromarray(painted)
    draw = ImageDraw.Draw(canvas)
    for i, (line, swatch) in enumerate(lines):
        middle = top + margin / 2 + (i + 0.5) * step
        half = size * 0.36
        for place, tint in enumerate(swatch):
            # several objects share the square
            left, right = (margin + 2 * half * share / len(swatch) for share in (place, place + 1))
            box = (left, middle - half, right, middle + half)
            draw.rounded_rectangle(box, radius=size * 0.15 / len(swatch), fill=tint)
        draw.text((indent, middle), line, font=font, fill=(255, 255, 255), anchor="lm")
    return np.array(canvas)


def _wrap(text: str, font: FreeTypeFont | ImageFont, width: float) -> list[str]:
    """Lines no wider than ``width`` pixels where possible.

    Broken at spaces; a word wider than a line (a script without spaces) is broken anywhere.
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _noted(
    text: str, note: str, widest: Sequence[str], font: FreeTypeFont | ImageFont, width: float
) -> list[str]:
    """Lines of a label and its note, as many as for the longest of ``widest``.

    The number of objects is left out where it would take another line.
    """
    number = note[: len(_WIDEST)] if note[0].isdigit() else ""
    # broken at the same place, whatever the score
    lines = _wrap(f"{text} · {_WIDEST if number else ''}{note[len(number) :]}", font, width)
    last = max((place for place, line in enumerate(lines) if _WIDEST in line), default=None) if number else None
    if last is not None:
        before, _, after = lines[last].rpartition(_WIDEST)
        lines[last] = before + number + after
    room = max(len(_wrap(f"{text} · {other}", font, width)) for other in widest)
    if len(lines) > room and (count := _COUNT.search(note)):
        return _noted(text, note[: count.start()] + note[count.end() :], widest, font, width)
    return [*lines, *[""] * (room - len(lines))]


def _shorten(text: str, font: FreeTypeFont | ImageFont, width: float) -> str:
    """``text``, which ends in ``…``, without as many letters before that as it takes to fit."""
    while len(text) > 1 and font.getlength(text) > width:
        text = f"{text[:-2].rstrip()}…"
    return text
