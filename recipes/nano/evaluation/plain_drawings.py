"""Drawings as a stranger makes them: a few lines of Pillow, an even ground, flat shapes down to a small size.

Nothing here is shared with the generator of the training scenes but the names of colours and shapes: outlines,
sizes, grounds, places and words are others, so that what a model makes of them says how far what it learned
carries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw

from instructseg.structures import Sample, Task

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "diamond")
GROUNDS = ("white", "black", "lightgray", "beige", "skyblue", "darkslategray")
RADII = (0.04, 0.05, 0.07, 0.10, 0.15, 0.20)
"""Half of the width of a shape, as a share of the height of the image."""
MOST = {0.15: 6, 0.20: 4}
"""Radius -> most shapes for which there is room; elsewhere 8."""
HEIGHT, WIDTHS = 480, (480, 640, 720, 854)
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
WORDS = {
    "rightmost": ("the shape furthest to the right", "the last shape in the row"),
    "leftmost": ("the shape furthest to the left", "the first shape in the row"),
    "largest": ("the huge one", "the biggest symbol", "the giant shape"),
    "smallest": ("the little one", "the tiniest shape", "the tiny one"),
    "red": ("the crimson shape",),
    "yellow": ("the golden shape",),
    "blue": ("the navy shape",),
    "purple": ("the lilac shape",),
    "cross": ("the plus",),
    "ring": ("the doughnut",),
    "circle": ("the disc", "the solid circle"),
    "heart": ("the symbol of love",),
}
"""What is meant -> how people say it who have not read which words the model was taught."""
_SPACE = 2.6
_TRIES = 400
_EVEN, _MIXED, _MIXED_SHARE = (0.85, 1.15), (0.7, 1.5), 0.35
_CLEAR_PLACE, _CLEAR_AREA, _CLEAR_SIZE = 0.08, 1.4, 1.1
_APART = 180  # least distance in RGB at which a colour stands out from its ground


@dataclass(frozen=True)
class Shape:
    """One flat shape: names of its colour and shape, its middle and half its width in pixels."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Said:
    """One instruction: what it asks for, the shapes that answer it, and the reply to a question."""

    text: str
    kind: str
    targets: tuple[int, ...]
    answer: str | None = None


@dataclass(frozen=True, eq=False)
class Drawing:
    """An image ``uint8[H, W, 3]`` with the masks ``uint8[N, H, W]`` of its shapes and what is asked about it.

    Attributes:
        shapes: of which none hides another.
        radius: of :data:`RADII`, of the scene.
    """

    image: np.ndarray
    shapes: tuple[Shape, ...]
    masks: np.ndarray
    radius: float
    expressions: tuple[Said, ...]
    name: str

    def samples(self) -> tuple[Sample, ...]:
        """One per instruction; ``meta`` has its ``kind``, and as ``form`` the radius."""
        samples = []
        for number, said in enumerate(self.expressions):
            others = [i for i in range(len(self.shapes)) if i not in said.targets]
            is_mask = said.answer is None
            samples.append(
                Sample(
                    key_frame=self.image,
                    instruction=said.text,
                    task=Task.RES if is_mask else Task.VQA,
                    masks=self.masks[list(said.targets)] if is_mask else None,
                    distractors=self.masks[others] if is_mask else None,
                    answer=said.answer,
                    name=f"{self.name}/{number}",
                    meta={"kind": said.kind, "form": f"radius {self.radius:.2f}"},
                )
            )
        return tuple(samples)


class PlainDrawings:
    """Drawing ``index`` is a function of the seed and the index alone; radii take turns.

    Args:
        seed: not negative.
    """

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int) -> Drawing:
        """The drawing with its truth.

        Raises:
            IndexError: ``index`` is outside ``0 <= index < length``.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"drawing {index} of {self.length}")
        rng = np.random.default_rng([self.seed, 71, index])
        radius = RADII[index % len(RADII)]
        ground, size = str(rng.choice(GROUNDS)), (int(rng.choice(WIDTHS)), HEIGHT)
        shapes = _place(rng, radius, ground, size)
        image, masks = _draw(rng, shapes, ground, size)
        name = f"drawings/{self.seed}/{index}"
        return Drawing(image, shapes, masks, radius, tuple(_questions(rng, shapes, masks)), name)


def _place(rng: np.random.Generator, radius: float, ground: str, size: tuple[int, int]) -> tuple[Shape, ...]:
    """Two shapes or more, apart from one another, in colours that stand out from the ground."""
    back = np.array(ImageColor.getrgb(ground))
    colours = [c for c in COLOURS if np.linalg.norm(back - ImageColor.getrgb(c)) > _APART]
    wanted = int(rng.integers(2, MOST.get(radius, 8) + 1))
    few = rng.choice(colours, size=min(len(colours), int(rng.integers(2, 5))), replace=False)
    names = rng.choice(SHAPES, size=int(rng.integers(2, 5)), replace=False)
    spread = _MIXED if rng.random() < _MIXED_SHARE else _EVEN
    shapes: list[Shape] = []
    tries = 0
    while len(shapes) < (wanted if tries < _TRIES else 2):
        tries += 1
        if tries % _TRIES == 0 and len(shapes) < 2:
            shapes.clear()  # the first one left no room for another
        r = size[1] * radius * rng.uniform(*spread)
        x, y = (rng.uniform(1.15 * r, side - 1.15 * r) for side in size)
        if all(math.hypot(x - s.x, y - s.y) > _SPACE / 2 * (r + s.radius) for s in shapes):
            shapes.append(Shape(str(rng.choice(few)), str(rng.choice(names)), x, y, r))
    return tuple(shapes)


def _draw(
    rng: np.random.Generator, shapes: Sequence[Shape], ground: str, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The image, in half of the cases with smooth edges and in a third with thin lines, and the masks."""
    scale = int(rng.choice((1, 3)))
    line = int(rng.choice((0, 0, 2))) * scale
    ink = "black" if sum(ImageColor.getrgb(ground)) > 380 else "white"
    large = (size[0] * scale, size[1] * scale)
    image, masks = Image.new("RGB", large, ground), []
    for one in shapes:
        mask = _stencil(one, large, scale)
        if line:
            image.paste(ink, mask=ImageChops.lighter(mask, _grown(one, large, scale, line)))
        image.paste(one.colour, mask=mask)
        masks.append(np.asarray(mask.resize(size, Image.Resampling.BOX)) >= 128)
    shown = image.resize(size, Image.Resampling.LANCZOS) if scale > 1 else image
    return np.asarray(shown).copy(), np.stack(masks).astype(np.uint8)


def _grown(one: Shape, size: tuple[int, int], scale: int, line: int) -> Image.Image:
    """The stencil of the shape that is wider by a line on each side."""
    return _stencil(Shape(one.colour, one.shape, one.x, one.y, one.radius + line / scale), size, scale)


def _stencil(one: Shape, size: tuple[int, int], scale: int) -> Image.Image:
    """``L`` image, 255 where the shape is."""
    image = Image.new("L", size)
    pen = ImageDraw.Draw(image)
    x, y, r = one.x * scale, one.y * scale, one.radius * scale

    def box(half: float) -> tuple[float, float, float, float]:
        return x - half, y - half, x + half, y + half

    def corners(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + r * across, y + r * down) for across, down in points]

    if one.shape in ("circle", "ring"):
        pen.ellipse(box(r), fill=255)
        if one.shape == "ring":
            pen.ellipse(box(0.55 * r), fill=0)
    elif one.shape == "square":
        pen.rectangle(box(0.88 * r), fill=255)
    elif one.shape == "triangle":
        pen.polygon(corners((0, -1), (1, 0.8), (-1, 0.8)), fill=255)
    elif one.shape == "diamond":
        pen.polygon(corners((0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)), fill=255)
    elif one.shape == "star":
        turns = [(math.pi * k / 5, 0.45 if k % 2 else 1.1) for k in range(10)]
        pen.polygon(corners(*((far * math.sin(t), -far * math.cos(t)) for t, far in turns)), fill=255)
    elif one.shape == "cross":
        pen.rectangle((x - r, y - 0.33 * r, x + r, y + 0.33 * r), fill=255)
        pen.rectangle((x - 0.33 * r, y - r, x + 0.33 * r, y + r), fill=255)
    else:
        for side in (-0.5, 0.5):
            pen.ellipse((x + r * (side - 0.52), y - 0.9 * r, x + r * (side + 0.52), y + 0.14 * r), fill=255)
        pen.polygon(corners((-0.96, -0.15), (0.96, -0.15), (0, 1)), fill=255)
    return image


def _questions(rng: np.random.Generator, shapes: Sequence[Shape], masks: np.ndarray) -> Iterator[Said]:
    """One instruction of each kind that the drawing allows, in words of its own."""

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    def count(kind: str, noun: str, which: Sequence[int]) -> Said:
        return Said(f"how many {noun} are there?", f"count {kind}", tuple(which), NUMBERS[len(which)])

    every = range(len(shapes))
    pairs = {(s.colour, s.shape) for s in shapes}
    anyone = shapes[one_of(every)]
    yield count("all", one_of(("shapes", "objects", "things")), every)
    plural = f"{anyone.shape}es" if anyone.shape == "cross" else f"{anyone.shape}s"
    yield count("one shape", plural, [i for i in every if shapes[i].shape == anyone.shape])
    same = [i for i in every if shapes[i].colour == anyone.colour]
    yield count("one colour", f"{anyone.colour} {one_of(('shapes', 'things'))}", same)
    there = one_of(sorted(pairs))
    yield Said(f"is there {_article(there)}?", "is there", (), "yes")
    missing = [p for p in product(COLOURS, SHAPES) if p not in pairs]
    near = [p for p in missing if any(p[0] == c or p[1] == s for c, s in pairs)]
    yield Said(f"is there {_article(one_of(near))}?", "is there", (), "no")
    yield Said(f"the {' '.join(one_of(near))}", "absent", ())
    yield from _masks(shapes, one_of)
    yield from _words(shapes, masks, one_of)


def _article(pair: tuple[str, str]) -> str:
    return f"{'an' if pair[0] == 'orange' else 'a'} {pair[0]} {pair[1]}"


def _masks(shapes: Sequence[Shape], one_of: Any) -> Iterator[Said]:
    """Shapes named by colour, by shape and by both, and looks of those named by one."""
    for kind, names in (("colour", ("colour",)), ("shape", ("shape",)), ("both", ("colour", "shape"))):
        looks = [tuple(getattr(s, name) for name in names) for s in shapes]
        single = [i for i, mine in enumerate(looks) if looks.count(mine) == 1]
        if not single:
            continue
        i = one_of(single)
        noun = f"{shapes[i].colour} {one_of(('shape', 'thing'))}" if kind == "colour" else " ".join(looks[i])
        yield Said(f"the {noun}", f"mask by {kind}", (i,))
        if kind == "shape":
            yield Said(f"what colour is the {noun}?", "colour of a shape", (i,), shapes[i].colour)
        if kind == "colour":
            yield Said(f"what shape is the {noun}?", "shape of a colour", (i,), shapes[i].shape)


def _words(shapes: Sequence[Shape], masks: np.ndarray, one_of: Any) -> Iterator[Said]:
    """One shape in other words than the model was taught, where there is one that is meant beyond doubt."""
    found: dict[str, int] = {}
    every = range(len(shapes))
    across = sorted(every, key=lambda i: shapes[i].x)
    for name, (end, following) in (("leftmost", across[:2]), ("rightmost", across[:-3:-1])):
        if abs(shapes[end].x - shapes[following].x) > _CLEAR_PLACE * HEIGHT:
            found[name] = end
    areas = masks.sum(axis=(1, 2))
    by_size = sorted(every, key=lambda i: int(areas[i]))
    for name, (less, more) in (("smallest", by_size[:2]), ("largest", by_size[-2:])):
        wider = shapes[more].radius > _CLEAR_SIZE * shapes[less].radius
        if wider and areas[more] > _CLEAR_AREA * areas[less]:
            found[name] = less if name == "smallest" else more
    for values in ([s.colour for s in shapes], [s.shape for s in shapes]):
        found |= {value: values.index(value) for value in values if values.count(value) == 1}
    known = [name for name in WORDS if name in found]
    if known:
        meant = one_of(known)
        yield Said(one_of(WORDS[meant]), "other words", (found[meant],))
