"""Choice of objects for scenes with a purpose, such as the odd one out.

A *plot* is a function from the choice of looks to roles; a role says what matters of an object and leaves the
rest to chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from recipes.nano.scenes.objects import MOTIONS, SHAPES, TEXTURES

SIDES = ("left", "right", "up", "down")
"""Motions along an edge of the frame."""

Pair = tuple[str, str]


@dataclass(frozen=True)
class Role:
    """Attributes of an object that are fixed before it is drawn.

    Attributes:
        colour: a name.
        shape: a name.
        size: a name; ``None`` leaves it to chance.
        texture: a name; ``None`` leaves it to chance.
        motion: a name; ``None`` leaves it to chance; without meaning in an image.
        speed: travel over the video as a share of the shorter side; ``None`` leaves it to chance.
        edge: ``leaves``: out of the frame at the end, ``enters``: at the start; ``None`` stays inside.
        twin: number of an earlier role whose object looks exactly the same.
    """

    colour: str
    shape: str
    size: str | None = None
    texture: str | None = None
    motion: str | None = None
    speed: float | None = None
    edge: str | None = None
    twin: int | None = None


@dataclass(frozen=True)
class Looks:
    """Colours and shapes to choose from.

    Attributes:
        first: pairs for the object that is asked about.
        rest: pairs for the others.
        textures: name -> weight.
        objects: smallest and largest number of objects.
    """

    rng: np.random.Generator
    first: Sequence[Pair]
    rest: Sequence[Pair]
    textures: Mapping[str, float]
    objects: Sequence[int]

    def pick(self, pairs: Sequence[Pair] | None = None) -> Pair:
        """A pair of ``pairs``, or of ``first``."""
        pairs = pairs or self.first
        return pairs[int(self.rng.integers(len(pairs)))]

    def other(
        self, *, colour: str | None = None, shape: str | None = None, unlike: Sequence[Pair] = ()
    ) -> Pair:
        """A pair of ``rest`` with that colour or shape and, where there is one, other than ``unlike`` in the
        attribute that is free, or in both."""
        fit = [p for p in self.rest if colour in (None, p[0]) and shape in (None, p[1])]
        fresh = [p for p in fit if all((colour or p[0] != u[0]) and (shape or p[1] != u[1]) for u in unlike)]
        return self.pick(fresh or fit or self.rest)

    def count(self, smallest: int, largest: int) -> int:
        """A number of objects within the configuration's where they meet."""
        low = min(max(smallest, self.objects[0]), max(largest, smallest))
        high = max(low, min(largest, self.objects[1]))
        return int(self.rng.integers(low, high + 1))

    def some(self, names: Sequence[str], count: int) -> list[str]:
        """Different names in random order."""
        return [names[i] for i in self.rng.permutation(len(names))[:count]]

    def chance(self, share: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < share)

    def texture(self) -> str:
        """One of the textures, by weight."""
        names = [name for name in TEXTURES if self.textures.get(name)]
        weights = np.array([self.textures[name] for name in names])
        return str(names[int(self.rng.choice(len(names), p=weights / weights.sum()))])


def crowd(looks: Looks) -> list[Role]:
    """Several objects that share their shape, their colour or both, and others that stand alone."""
    count = looks.count(3, 8)
    alike = int(looks.rng.integers(2, count + 1)) if count < 4 or looks.chance(0.3) else count - 1
    lead = looks.pick()
    same = ("shape", "colour", "both")[int(looks.rng.choice(3, p=[0.45, 0.25, 0.3]))]
    pairs = [lead]
    while len(pairs) < alike:
        if same == "both":
            pairs.append(lead)
        elif same == "shape":
            pairs.append(looks.other(shape=lead[1], unlike=pairs if looks.chance(0.5) else ()))
        else:
            pairs.append(looks.other(colour=lead[0], unlike=pairs if looks.chance(0.5) else ()))
    while len(pairs) < count:
        pairs.append(looks.other(unlike=pairs))
    return [Role(*pair) for pair in pairs]


def odd(looks: Looks) -> list[Role]:
    """Objects that share colour or shape but for one."""
    count = looks.count(3, 6)
    by_colour = looks.chance(0.5)
    one = looks.pick()
    texture, size = looks.texture(), "medium" if looks.chance(0.5) else None
    kept = looks.other(shape=one[1], unlike=[one]) if by_colour else looks.other(colour=one[0], unlike=[one])
    if looks.chance(0.5):
        free = {"colour": kept[0]} if by_colour else {"shape": kept[1]}
        others = [looks.other(**free) for _ in range(count - 1)]  # type: ignore[arg-type]
    else:
        others = [kept] * (count - 1)
    return [Role(*pair, texture=texture, size=size) for pair in (one, *others)]


def twins(looks: Looks) -> list[Role]:
    """Two or three that look exactly the same and move in different ways, among others."""
    count = looks.count(2, 5)
    alike = 3 if count > 3 and looks.chance(0.4) else 2
    pair = looks.pick()
    motions = looks.some((*SIDES, "still"), alike)
    roles = [Role(*pair, motion=motions[0])]
    roles += [Role(*pair, motion=motion, twin=0) for motion in motions[1:]]
    while len(roles) < count:
        other = looks.other(unlike=[pair])
        if count - len(roles) >= 2 and looks.chance(0.6):
            ways = looks.some((*SIDES, "still"), 2)
            roles += [Role(*other, motion=ways[0]), Role(*other, motion=ways[1], twin=len(roles))]
        else:
            roles.append(Role(*other))
    return roles


def race(looks: Looks) -> list[Role]:
    """Two or more that move in one direction at different speeds, and perhaps some that do not."""
    count = looks.count(2, 5)
    racers = count if count < 3 or looks.chance(0.3) else int(looks.rng.integers(2, count))
    way = looks.some(SIDES, 1)[0]
    speeds = looks.rng.permutation(0.14 * 1.5 ** np.arange(racers))
    pairs = _alike(looks, count)
    roles = [Role(*pair, motion=way, speed=float(v)) for pair, v in zip(pairs, speeds, strict=False)]
    for pair in pairs[racers:]:
        rest = [name for name in (*SIDES, "still") if name != way]
        roles.append(Role(*pair, motion=looks.some(rest, 1)[0], speed=float(looks.rng.uniform(0.15, 0.4))))
    return roles


def parked(looks: Looks) -> list[Role]:
    """One that stands still among at least two that move."""
    pairs = _alike(looks, looks.count(3, 5))
    ways = [SIDES[int(looks.rng.integers(4))] for _ in pairs[1:]]
    return [Role(*pair, motion=motion) for pair, motion in zip(pairs, ("still", *ways), strict=True)]


def leave(looks: Looks) -> list[Role]:
    """One that leaves the frame, one just as close to an edge that comes in, and others that stay."""
    pairs = _alike(looks, looks.count(2, 5))
    ways = [SIDES[int(looks.rng.integers(4))] for _ in pairs]
    first, second, *rest = (Role(*pair, motion=way) for pair, way in zip(pairs, ways, strict=True))
    small = ("small", "medium")
    first = replace(first, edge="leaves", size=looks.some(small, 1)[0])
    if looks.chance(0.75):
        second = replace(second, edge="enters", size=looks.some(small, 1)[0])
    return [first, second, *(replace(role, motion=None) for role in rest)]


def _alike(looks: Looks, count: int) -> list[Pair]:
    """Pairs that share the shape, the colour or both, or nothing."""
    lead, draw = looks.pick(), float(looks.rng.random())
    if draw < 0.3:
        return [lead] * count
    free = {"shape": lead[1]} if draw < 0.6 else {"colour": lead[0]} if draw < 0.75 else {}
    return [lead, *(looks.other(**free) for _ in range(count - 1))]  # type: ignore[arg-type]


PLOTS: Mapping[str, Callable[[Looks], list[Role]]] = MappingProxyType(
    {"crowd": crowd, "odd": odd, "twins": twins, "race": race, "parked": parked, "leave": leave}
)
"""Purpose -> plot."""

CLIP_PLOTS = frozenset({"twins", "race", "parked", "leave"})
"""Plots that need more than one frame."""


def edge_path(
    rng: np.random.Generator, role: Role, size: tuple[int, int], radius: float, along: np.ndarray
) -> np.ndarray | None:
    """``float[T, 2]``: the way of an object across an edge; near that edge, but seen, in the middle frame.

    ``None`` where the frame is too small for the object.
    """
    direction = np.array(MOTIONS[role.motion or "left"][0])
    outwards = direction if role.edge == "leaves" else -direction
    axis = int(np.argmax(np.abs(direction)))
    reach = SHAPES[role.shape].reach * radius
    # from the edge to the centre in the middle frame; a longer way would make it too fast to be followed
    inside = rng.uniform(0.35, 1.1) * reach
    way = 2 * (inside + 1.05 * reach) * rng.uniform(1.05, 1.5)
    middle = np.empty(2)
    middle[axis] = size[axis] - inside if outwards[axis] > 0 else inside
    other = 1 - axis
    if size[other] < 2 * reach or size[axis] < 2 * reach:
        return None
    middle[other] = rng.uniform(reach, size[other] - reach)
    centres: np.ndarray = middle + along[:, None] * way * direction
    return centres
