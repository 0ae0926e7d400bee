"""Kind ``unknown``: instructions with words for objects that are never drawn.

The tokenizer of small models is not learned from them: such a word falls into pieces, as any other one does
that it does not know, and pieces are what a model can learn to distrust.
"""

from __future__ import annotations

from collections.abc import Iterator

from recipes.nano.language.meaning import Meaning, Phrases, sentences
from recipes.nano.scenes.objects import COLOURS, SHAPES
from recipes.nano.scenes.scenes import Scene

THINGS = (
    "dog", "horse", "cow", "sheep", "elephant", "zebra", "giraffe", "bird", "duck", "goose", "rabbit", "mouse",
    "monkey", "dolphin", "whale", "spider", "beetle", "butterfly", "man", "girl", "child", "baby", "player",
    "policeman", "doctor", "rider", "car", "bus", "bicycle", "train", "plane", "ship", "van", "tractor",
    "chair", "sofa", "bed", "lamp", "shelf", "mirror", "carpet", "cup", "bottle", "fork", "spoon", "bowl",
    "pan", "phone", "laptop", "keyboard", "camera", "book", "pencil", "newspaper", "umbrella", "backpack",
    "suitcase", "shoe", "shirt", "glove", "glasses", "hammer", "ladder", "bridge", "tower", "castle", "fence",
    "bench", "hydrant", "billboard", "tree", "bush", "flower", "river", "beach", "apple", "pear", "sandwich",
    "burger", "cookie", "rocket", "robot", "violin", "trumpet", "drum", "skateboard", "surfboard", "racket",
    "crane", "helicopter", "ambulance", "pigeon", "goat", "turtle", "lizard", "shark", "pillow", "blanket",
    "candle", "vase", "basket", "bucket", "broom", "scissors", "needle", "button", "jacket", "trousers",
    "skirt", "necklace", "hexagon", "pentagon", "octagon", "crescent", "spiral", "arrow", "trapezoid",
)  # fmt: skip
UNSEEN_THINGS = (
    "cat", "woman", "boy", "truck", "motorbike", "boat", "table", "knife", "house", "bear", "lion", "snake",
    "pizza", "banjo", "guitar", "piano", "hat", "sock", "parrot", "squirrel", "tulip", "kettle", "toaster",
    "bolt", "screw", "pentagram", "cylinder", "zeppelin", "xylophone", "walrus",
)  # fmt: skip
HUES = ("brown", "pink", "turquoise", "beige", "magenta", "cyan", "silver", "copper", "khaki", "maroon")
UNSEEN_HUES = ("teal", "bronze", "ochre", "olive", "ivory")

_PLACES = (
    "on the sofa",
    "in the garden",
    "next to the window",
    "under the table",
    "behind the fence",
    "outside",
)
_THING = ("{a}", "{c} {a}", "big {a}", "small {a}", "{a} {p}", "{a} in the background")
_COLOURED = ("{h} {s}", "{h} thing", "{h} one", "{h} object", "big {h} {s}", "small {h} {s}")


def unknown_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Asks for objects that are never drawn, and for known shapes in colours that are never drawn."""
    words = {"c": tuple(COLOURS), "p": _PLACES}
    yield _nothing("thing", _THING, {"a": THINGS}, {"a": UNSEEN_THINGS}, words)
    yield _nothing("colour", _COLOURED, {"h": HUES}, {"h": UNSEEN_HUES}, {"s": tuple(SHAPES)})


def _nothing(
    form: str,
    bodies: tuple[str, ...],
    seen: dict[str, tuple[str, ...]],
    unseen: dict[str, tuple[str, ...]],
    words: dict[str, tuple[str, ...]],
) -> Meaning:
    patterns = sentences(bodies)
    return Meaning(
        "unknown", form, (), Phrases(patterns, **seen, **words), Phrases(patterns, **unseen, **words)
    )
