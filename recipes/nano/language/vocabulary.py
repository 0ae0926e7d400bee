"""Every word that is said of scenes, and of those that a growing generator will say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from types import MappingProxyType

from recipes.nano.language.phrasing import ANY_SHAPE, MOTION_PHRASES, SYNONYMS, wordings
from recipes.nano.scenes.objects import COLOURS, SHAPES, SIZES, TEXTURES

COLOUR_KNOWLEDGE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "red": ("strawberry", "tomato", "cherry", "fire truck", "blood", "stop sign"),
        "orange": ("carrot", "pumpkin", "tangerine", "basketball", "fox", "traffic cone"),
        "yellow": ("banana", "lemon", "sunflower", "chick", "taxi", "corn"),
        "green": ("grass", "frog", "leaf", "cucumber", "broccoli", "lime"),
        "blue": ("sky", "sea", "ocean", "blueberry", "jeans", "water"),
        "purple": ("grape", "eggplant", "lavender", "plum", "violet", "amethyst"),
        "white": ("snow", "milk", "salt", "cloud", "cotton", "polar bear"),
        "black": ("coal", "night", "tar", "raven", "tire", "panther"),
    }
)
"""Colour -> objects known to have it."""

SHAPE_KNOWLEDGE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "circle": ("ball", "coin", "wheel", "full moon", "plate", "sun"),
        "square": ("tile", "window", "dice", "postage stamp", "chess field", "cardboard box"),
        "triangle": ("pyramid", "slice of pizza", "tent", "roof", "mountain"),
        "star": ("night sky", "sheriff badge", "starfish", "top of a christmas tree"),
        "cross": ("plus sign", "first aid kit", "hospital", "church", "pharmacy"),
        "ring": ("donut", "wedding", "finger", "life buoy", "hoop", "bracelet"),
        "heart": ("love", "valentine card", "romance", "affection"),
        "diamond": ("kite", "jewel", "rhombus", "gem"),
    }
)
"""Shape -> objects known to have it or to call it to mind."""

_RELATIONS = (
    "left of", "right of", "to the left of", "to the right of", "above", "below", "under", "over", "next to",
    "beside", "near", "nearest to", "closest to", "far from", "farthest from", "in front of", "behind",
    "between", "inside", "outside", "on top of", "touching", "overlapping", "covering", "covered by",
    "hidden by", "opposite", "around", "among", "smaller than", "bigger than", "larger than", "as big as",
    "faster than", "slower than", "higher than", "lower than", "following", "leading", "passing", "chasing",
    "overtaking", "approaching", "moving towards", "moving away from", "moving with", "like", "unlike",
    "same colour as", "same color as", "same shape as", "same size as",
)  # fmt: skip

_CHOSEN = (
    "first", "second", "third", "fourth", "fifth", "last", "middle", "leftmost", "rightmost", "topmost",
    "uppermost", "bottom", "top", "highest", "lowest", "central", "outermost", "biggest", "smallest",
    "largest", "tiniest", "tiny", "huge", "little", "medium sized", "nearest", "farthest", "closest",
    "fastest", "slowest", "brightest", "darkest", "odd", "different", "other", "same", "only", "moving",
    "still", "hidden", "visible", "round", "pointed", "hollow", "spotted", "plain", "bright", "dark", "gray",
    "grey", "brown", "pink",
)  # fmt: skip

_MOTIONS = (
    "moves", "moves diagonally", "stands still", "is parked", "stays in place", "stops", "starts", "starts to "
    "move", "moves first", "moves last", "leaves first", "leaves last", "arrives first", "arrives last",
    "moves fast", "moves slowly", "moves the most", "moves the least", "moves quickly", "speeds up",
    "slows down", "turns", "turns back", "turns around", "turns left", "turns right", "rotates", "spins",
    "bounces", "rises", "falls", "climbs", "drops", "sinks", "floats", "appears", "disappears", "enters",
    "leaves", "crosses the picture", "overtakes the others", "wins the race", "loses the race", "is ahead",
    "is in the lead", "falls behind", "grows", "shrinks", "gets bigger", "gets smaller", "becomes hidden",
    "comes closer", "goes away", "goes to the left", "goes to the right", "goes up", "goes down", "runs",
    "flies upwards", "flies downwards", "heads left", "heads right", "heads towards the top", "wanders",
)  # fmt: skip

_QUESTIONS = (
    "which {} is the odd one out?", "which {} does not belong with the others?", "what is the {}?",
    "which of the {}s differs from all the others?", "how many {}s are there?", "is there a {}?",
    "are there any {}s?", "what colour is the {}?", "what color has the {}?", "what shape is the {}?",
    "what is left of the {}?", "what is behind the {}?", "how does the {} move?", "where does the {} go?",
    "in which direction does the {} move?", "is the {} moving?", "what size is the {}?", "who wins?",
    "if you had to pick one {}, which one would roll away most easily?", "why is the {} here?",
    "which {} would you see on a road?", "which {} could you eat?", "which {} would be the heaviest?",
    "can you segment the {} in this image?", "please segment the {} in this video.", "describe the {}.",
    "please output the segmentation mask of the {} and explain why.", "both {}s", "all the {}s", "every {}",
    "each {}", "all {}s but one", "the two {}s", "the three {}s", "any {}", "a {}", "an object, not a {}",
    "everything except the {}", "the {} and the other one", "the {} or the other one", "no {}",
    "what has the colour of a {}?", "what has the color of an {}?", "which one is shaped like a {}?",
    "what would remind you of a {}?", "which thing has the same colour as the {}?", "it looks like a {}",
    "which one do you think of when you see a {}?", "something as round as a {}", "what could be a {}?",
)  # fmt: skip

_ANSWERS = (
    "yes.", "no.", "yes, there is a {}.", "no, there is no {}.", "it is the {}.", "it is a {}.",
    "they are {}s.", "there are no {}s.", "there is one {}.", "sure, the {}.", "the {} moves to the left.",
    "nothing answers.", "none of them.", "because it has the colour of the {}.",
    "because it is the only {} in the picture.", "this is not shown here.",
    "the {} is the biggest because the others are smaller.", "i see a {}.",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "it stays where it is.", "at the top left corner.",
    "at the bottom right edge.", "in the middle of the image.", "in the background of the frame.",
)  # fmt: skip


def vocabulary_corpus() -> Iterator[str]:
    """Sentences for training a tokenizer: all that is said now, and the words of questions to come.

    Relations, order, superlatives, motion, knowledge and answers are in it, so that the tokenizer of a
    trained model stays as it is when the generator learns to ask more.
    """
    sizes = {w for size in SIZES for w in SYNONYMS.get(size, (size,))}
    things = [f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES)]
    for colour, shape in product(COLOURS, SHAPES):
        yield from wordings((("colour", colour), ("shape", shape)))
    for size, texture, colour in product(sorted(sizes), TEXTURES, COLOURS):
        yield from (f"the {size} {texture} {colour} {noun}" for noun in ANY_SHAPE)
    for motion, obj in product(MOTION_PHRASES, things):
        yield from (f"the {obj} {phrase}" for phrase in MOTION_PHRASES[motion])
    for relation, (one, other) in product(_RELATIONS, zip(things, things[::-1], strict=True)):
        yield f"the {one} {relation} the {other}"
    for chosen, noun in product(_CHOSEN, (*SHAPES, *ANY_SHAPE, "one")):
        yield f"the {chosen} {noun}"
        yield f"the {chosen} {noun} from the left, the right, the top or the bottom"
    for motion, noun in product(_MOTIONS, (*SHAPES, "thing", "one")):
        yield f"the {noun} that {motion}"
        yield f"which {noun} {motion}?"
    known = [obj for table in (COLOUR_KNOWLEDGE, SHAPE_KNOWLEDGE) for row in table.values() for obj in row]
    for sentence in (*_QUESTIONS, *_ANSWERS):
        yield from (sentence.format(noun) for noun in (*things, *known, *SHAPES, *ANY_SHAPE))
