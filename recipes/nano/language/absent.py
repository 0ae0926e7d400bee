"""Kind ``absent``: instructions that nothing in the frame answers, close to ones that something does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from instructseg.structures import Task
from recipes.nano.language.knowledge import knowledge_wordings
from recipes.nano.language.meaning import Look, Meaning, View, view
from recipes.nano.language.motions import doubtful, motion_wordings
from recipes.nano.language.phrasing import unseen_wordings, wordings
from recipes.nano.language.relations import SIDES, TARGET_FORMS, relation_wordings, side_truth
from recipes.nano.scenes.objects import COLOURS, HELD_OUT, MOTIONS, SHAPES
from recipes.nano.scenes.scenes import Scene


def absent_meanings(scene: Scene, frame: int) -> Iterator[Meaning]:
    """Looks that no object has, relations that hold for none, motions that none makes, knowledge of none."""
    seen = view(scene, frame)
    yield from _looks(seen)
    if seen.is_clip:
        yield from _motions(seen)
    elif seen.legible.all():
        yield from _relations(seen)


def _nothing(
    form: str,
    said: tuple[Sequence[str], Sequence[str]],
    task: Task | None = None,
    anchors: tuple[int, ...] = (),
) -> Meaning:
    return Meaning("absent", form, (), said[0], said[1], task, anchors=anchors)


def _looks(seen: View) -> Iterator[Meaning]:
    shown = {(obj.colour, obj.shape) for obj in seen.scene.objects}
    colours, shapes = ({pair[i] for pair in shown} for i in (0, 1))
    lacking: list[Look] = [(("colour", c),) for c in COLOURS if c not in colours]
    lacking += [(("shape", s),) for s in SHAPES if s not in shapes]
    for look in lacking:
        form = look[0][0]
        yield _nothing(form, (wordings(look), unseen_wordings(look)))
        if not seen.is_clip:
            yield _nothing(f"{form} knowledge", knowledge_wordings(look), Task.REASON_SEG)
    for pair in product(COLOURS, SHAPES):
        # that a held-out pair is never there must not be learned
        if pair in shown or pair in HELD_OUT or not (pair[0] in colours or pair[1] in shapes):
            continue
        look = (("colour", pair[0]), ("shape", pair[1]))
        form = "colour shape" if pair[0] in colours and pair[1] in shapes else "colour shape, one shown"
        yield _nothing(form, (wordings(look), unseen_wordings(look)))


def _relations(seen: View) -> Iterator[Meaning]:
    groups = seen.looks(*TARGET_FORMS)
    for b, anchor in seen.anchors():
        for form in SIDES:
            truth = side_truth(seen, form, anchor).tolist()
            for a, members in groups.items():
                others = [i for i in members if i != anchor]
                if others and all(truth[i] == -1 for i in others):
                    yield _nothing(f"relation {form}", relation_wordings(form, a, b), anchors=(anchor,))


def _motions(seen: View) -> Iterator[Meaning]:
    things = seen.scene.objects
    for look, members in seen.looks(("shape",), ("colour",), ("colour", "shape")).items():
        everyone = seen.members(look)
        for motion in MOTIONS:
            if not members or motion == "diagonal" or any(things[i].motion == motion for i in everyone):
                continue
            if not doubtful(seen, motion, everyone):
                yield _nothing("motion", motion_wordings(look, motion))
