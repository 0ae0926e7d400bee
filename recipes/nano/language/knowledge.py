"""Kinds ``knowledge``, ``function`` and ``odd``: questions to be thought about before looking."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from instructseg.structures import Task
from recipes.nano.language.meaning import Look, Meaning, Phrases, View, view
from recipes.nano.language.vocabulary import COLOUR_KNOWLEDGE, SHAPE_KNOWLEDGE
from recipes.nano.scenes.scenes import Scene

_COLOUR = (
    "what has the colour of {k}?",
    "which one has the colour of {k}?",
    "which thing has the same colour as {k}?",
    "the thing with the colour of {k}",
    "segment what has the colour of {k}",
    "please segment the object that has the colour of {k}.",
    "find the thing that is as colourful as {k}",
    "what has a colour like {k}?",
    "which thing here is coloured like {k}?",
    "show me what shares its colour with {k}",
    "do you see the thing with the same colour as {k}?",
    "think of {k}: what has that colour?",
    "point at the thing whose colour is that of {k}",
)
_COLOUR_UNSEEN = (
    "{k} has a colour: which thing here has it too?",
    "can you point out what has the colour of {k}?",
)
_SHAPE = (
    "what is shaped like {k}?",
    "which one is shaped like {k}?",
    "what would remind you of {k}?",
    "which one do you think of when you see {k}?",
    "what looks like {k}?",
    "segment what has the shape of {k}",
    "please segment the thing that is shaped like {k}.",
    "which thing here looks like {k}?",
    "what has a shape like {k}?",
    "show me what shares its shape with {k}",
    "do you see the thing with the shape of {k}?",
    "think of {k}: what has that shape?",
    "point at the thing whose shape is that of {k}",
)
_SHAPE_UNSEEN = (
    "which thing here has the same shape as {k}?",
    "can you point out what is shaped like {k}?",
)
_BOTH = (
    "what has the colour of {k} and the shape of {s}?",
    "which one is shaped like {s} and has the colour of {k}?",
    "segment the thing that looks like {s} and has the colour of {k}",
    "which thing has the same colour as {k} and is shaped like {s}?",
    "which thing here looks like {s} and is coloured like {k}?",
    "show me what shares its shape with {s} and its colour with {k}",
    "think of {s} in the colour of {k}: where is it?",
    "point at the thing with the shape of {s} and the colour of {k}",
)
_BOTH_UNSEEN = (
    "something here has the shape of {s} and the colour of {k}: where is it?",
    "can you point out what is shaped like {s} with the colour of {k}?",
)

_MASS = frozenset({"blood", "grass", "corn", "broccoli", "water", "jeans", "lavender", "snow", "milk", "salt",
                   "cotton", "coal", "night", "tar", "love", "romance", "affection"})  # fmt: skip
_SINGLE = frozenset({"sky", "sea", "ocean", "full moon", "sun", "night sky", "top of a christmas tree"})

FUNCTIONS: MappingProxyType[str, tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "rolls": (
            frozenset({"circle", "ring"}),
            (
                "which one would roll away most easily?",
                "if you had to pick one thing, which one would roll away most easily?",
                "which object could you roll?",
                "which thing could you roll on the floor?",
                "which one has no corners?",
                "which one here could be the wheel of a car?",
                "what could you roll like a wheel?",
                "which thing is round?",
            ),
            ("which thing here would be a good wheel?",),
        ),
        "hollow": (
            frozenset({"ring"}),
            (
                "which one could you put your finger in?",
                "which one could you look through?",
                "which thing could you put around your finger?",
                "which one has a hole?",
                "which one is open in the middle?",
                "what here could you put your hand in?",
                "which thing is hollow?",
                "which one is not filled in its middle?",
            ),
            ("what here has a hole in the middle?",),
        ),
        "loving": (
            frozenset({"heart"}),
            (
                "which one would you give to someone that you love?",
                "which one stands for love?",
                "what would you put on a valentine card?",
                "which thing would you send to your love?",
                "which one is the sign of love?",
                "what would you draw on a card for someone you love?",
                "which one means love?",
                "which thing would be on a card of romance?",
            ),
            ("which thing would be at home on a card for your love?",),
        ),
        "helping": (
            frozenset({"cross"}),
            (
                "which one would show you where a hospital is?",
                "which one could you see on top of a church?",
                "what would you find on a first aid kit?",
                "which thing is the sign of a hospital?",
                "which one could be on a pharmacy?",
                "what here stands for first aid?",
                "which one would be the sign of a church?",
                "which thing is like a plus sign?",
            ),
            ("which thing here could be the sign of a pharmacy?",),
        ),
        "shining": (
            frozenset({"star"}),
            (
                "which one could you see in the night sky?",
                "what would you put on top of a christmas tree?",
                "which one has five points?",
                "which thing could be the badge of a sheriff?",
                "what would a sheriff have on?",
                "which thing shines at night?",
                "which one here belongs in the night sky?",
                "which thing has the most points?",
            ),
            ("which thing here would a sheriff like?",),
        ),
        "three": (
            frozenset({"triangle"}),
            (
                "which one has three corners?",
                "which one could be the roof of a house?",
                "which one has the least corners?",
                "which thing has three sides?",
                "which one looks like a tent?",
                "what here could be a roof?",
                "which thing could be the top of a house?",
                "which one here could be a mountain?",
            ),
            ("which thing here could be a tent?",),
        ),
        "stacking": (
            frozenset({"square"}),
            (
                "which one would be best to pack things in like a box?",
                "which one could be a window?",
                "which one could be a tile on the floor?",
                "which thing has four sides of the same length that stands straight?",
                "which one has four equal corners?",
                "what here could be a box?",
                "which thing stands flat on the floor?",
                "which one here could be a window of a house?",
            ),
            ("which thing here has four equal sides and stands flat?",),
        ),
    }
)
"""Form -> shapes that answer, questions, and questions kept from training."""

_ODD = (
    "which {n} is the odd one out?",
    "which {n} does not belong with the others?",
    "what is the odd one out?",
    "which of the {n}s differs from all the others?",
    "the {n} that is unlike the others",
    "segment the {n} that is not like the others",
    "find the odd one out among the {n}s",
    "all {n}s but one are alike: which one is different?",
    "which {n} is different from the rest?",
    "show me the {n} that is not like the rest",
    "find the different {n}",
    "which {n} stands out from the rest?",
    "what does not fit in here?",
    "one of them is not like the others: which one?",
    "spot the {n} that has no match among the others",
)
_ODD_UNSEEN = (
    "can you point out the {n} that is different?",
    "one {n} is not like the rest, where is it?",
)


def known(word: str) -> str:
    """The word with its article: "a tomato", "the sky", "grass"."""
    if word in _MASS:
        return word
    if word in _SINGLE:
        return f"the {word}"
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


_COLOURS = MappingProxyType({name: tuple(map(known, row)) for name, row in COLOUR_KNOWLEDGE.items()})
_SHAPES = MappingProxyType({name: tuple(map(known, row)) for name, row in SHAPE_KNOWLEDGE.items()})


def knowledge_wordings(look: Look) -> tuple[Phrases, Phrases]:
    """Seen and unseen questions for what has the colour, the shape or both of something well known."""
    values = dict(look)
    gaps = {}
    if "colour" in values:
        gaps["k"] = _COLOURS[values["colour"]]
    if "shape" in values:
        gaps["s" if "colour" in values else "k"] = _SHAPES[values["shape"]]
    if len(values) == 2:
        return Phrases(_BOTH, **gaps), Phrases(_BOTH_UNSEEN, **gaps)
    seen, unseen = (_COLOUR, _COLOUR_UNSEEN) if "colour" in values else (_SHAPE, _SHAPE_UNSEEN)
    return Phrases(seen, **gaps), Phrases(unseen, **gaps)


def knowledge_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The only object with the colour, the shape, or both, of something well known."""
    seen = view(scene, frame)
    if seen.is_clip:
        return
    for look, target in seen.anchors():
        form = "both" if len(look) == 2 else look[0][0]
        yield Meaning("knowledge", form, (target,), *knowledge_wordings(look), task=Task.REASON_SEG)


def function_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The only object whose shape is fit for something."""
    seen = view(scene, frame)
    if seen.is_clip:
        return
    for form, (shapes, said, unseen) in FUNCTIONS.items():
        fit = [i for i, obj in enumerate(scene.objects) if obj.shape in shapes]
        if len(fit) == 1 and seen.legible[fit[0]]:
            yield Meaning("function", form, (fit[0],), said, unseen, Task.REASON_SEG)


def odd_one(seen: View, name: str) -> int | None:
    """The object that alone differs in that attribute from all others, which share it; of three at least."""
    values = [getattr(obj, name) for obj in seen.scene.objects]
    lonely = [i for i, value in enumerate(values) if values.count(value) == 1]
    return lonely[0] if len(values) >= 3 and len(lonely) == 1 and len(set(values)) == 2 else None


def odd_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """The object that differs in colour or in shape where no other object stands out by look."""
    seen = view(scene, frame)
    if seen.is_clip or not seen.legible.all():
        return
    odd = {name: odd_one(seen, name) for name in ("colour", "shape", "texture", "size")}
    found = {i for i in odd.values() if i is not None}
    form = " ".join(name for name in ("colour", "shape") if odd[name] is not None)
    if len(found) == 1 and form:
        said = Phrases(_ODD, n=("object", "thing")), Phrases(_ODD_UNSEEN, n=("object", "thing"))
        yield Meaning("odd", form, (found.pop(),), *said, task=Task.REASON_SEG)
