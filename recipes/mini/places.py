"""Rules of place and size: one of several, where the margin is clear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recipes.mini.known import Asked, Known, call

MARGIN = 0.1
"""Least distance, as a share of the frame, by which one object is farther to a side than the next."""
SIZE_RATIO = 1.6
"""Least ratio of areas by which one object is larger than the next."""
ORDINALS = ("first", "second", "third", "fourth")


def sides(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Leftmost, rightmost, uppermost, lowest, and the middle one of three."""
    for category, numbers in what.singles().items():
        if len(numbers) < 2 or not what.large(numbers):
            continue
        word = call(rng, category)
        for axis, first, last in (("x", "left", "right"), ("y", "top", "bottom")):
            place = [getattr(what.looks[number], axis) for number in numbers]
            order = np.argsort(place)
            gaps = np.diff(np.array(place)[order])
            for side, at, gap in ((first, order[0], gaps[0]), (last, order[-1], gaps[-1])):
                if gap >= MARGIN:
                    yield Asked(_at_side(rng, word, side, len(numbers)), frozenset({numbers[at]}), "side")
            if len(numbers) == 3 and gaps.min() >= MARGIN and axis == "x":
                text = str(rng.choice([f"the {word} in the middle", f"the middle {word}"]))
                yield Asked(text, frozenset({numbers[order[1]]}), "side")
            if len(numbers) >= 3 and gaps.min() >= MARGIN * 0.7 and axis == "x":
                yield from _orders(word, [numbers[at] for at in order])


def _at_side(rng: np.random.Generator, word: str, side: str, count: int) -> str:
    forms = [f"the {word} on the {side}"] if side in ("left", "right") else [f"the {word} at the {side}"]
    if side in ("left", "right"):
        forms += [f"the {word} on the {side} side", f"the {word} on the far {side}"]
        forms += [f"the {side}most {word}", f"the {word} farthest to the {side}"]
        forms += [f"the {side} {word}"] if count == 2 else []
    else:
        forms += [f"the {'upper' if side == 'top' else 'lower'} {word}"] if count == 2 else []
        forms += [f"the {'highest' if side == 'top' else 'lowest'} {word}"]
    return str(rng.choice(forms))


def _orders(word: str, ordered: Sequence[int]) -> Iterator[Asked]:
    for place, number in enumerate(ordered[:4]):
        yield Asked(f"the {ORDINALS[place]} {word} from the left", frozenset({number}), "order")
    for place, number in enumerate(reversed(ordered[-4:])):
        yield Asked(f"the {ORDINALS[place]} {word} from the right", frozenset({number}), "order")


def sizes(rng: np.random.Generator, what: Known) -> Iterator[Asked]:
    """Largest, smallest, and nearest: largest and lowest at once."""
    for category, numbers in what.singles().items():
        if len(numbers) < 2 or not what.large(numbers):
            continue
        word, two = call(rng, category), len(numbers) == 2
        areas = np.array([what.looks[number].area for number in numbers])
        order = np.argsort(areas)
        if areas[order[-1]] >= SIZE_RATIO * areas[order[-2]]:
            largest = numbers[order[-1]]
            adjective = str(rng.choice(["larger", "bigger"] if two else ["largest", "biggest"]))
            yield Asked(f"the {adjective} {word}", frozenset({largest}), "size")
            bottoms = sorted((what.looks[number].box[3] for number in numbers), reverse=True)
            if what.looks[largest].box[3] == bottoms[0] >= bottoms[1] + MARGIN / 2:
                near = ("closest to the camera", "nearest to the camera", "in front", "in the foreground")
                yield Asked(f"the {word} {rng.choice(near)}", frozenset({largest}), "size")
        if areas[order[1]] >= SIZE_RATIO * areas[order[0]]:
            adjective, smallest = "smaller" if two else "smallest", numbers[order[0]]
            yield Asked(f"the {adjective} {word}", frozenset({smallest}), "size")
            bottoms = sorted(what.looks[number].box[3] for number in numbers)
            if what.looks[smallest].box[3] == bottoms[0] <= bottoms[1] - MARGIN / 2:
                far = ("farthest from the camera", "in the background", "at the back", "furthest away")
                yield Asked(f"the {word} {rng.choice(far)}", frozenset({smallest}), "size")
