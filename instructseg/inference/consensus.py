"""Agreement over paraphrases of an instruction: what most of them find, with the mean of their masks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from instructseg.masks import mask_iou
from instructseg.plurals import description, means_several
from instructseg.prediction import Prediction

SAME_OBJECT = 0.5
"""Overlap (IoU) from which masks of two paraphrases are of one object."""

_PHRASES = (
    "{}", "find {}", "segment {}", "show me {}", "where {be} {}?", "please mark {}", "locate {}",
    "highlight {}",
)  # fmt: skip
_QUESTIONS = ("{}", "show me: {}", "find: {}", "segment: {}", "please mark: {}")
_QUESTION = re.compile(r"(?:what|which|who|whom|whose|where|when|why|how)\b")
MOST_PARAPHRASES = len(_PHRASES)
"""Largest number of paraphrases, the instruction itself among them."""


def paraphrases(instruction: str, count: int) -> list[str]:
    """The instruction and other ways to say it, in English.

    Args:
        instruction: as written.
        count: how many, from 1 to :data:`MOST_PARAPHRASES`.

    Returns:
        The instruction first, each text once; fewer for a question.
    """
    text = description(instruction)
    asked = bool(_QUESTION.match(text))
    be = "are" if means_several(instruction) else "is"
    core = f"{text}?" if asked else text
    others = [form.format(core, be=be) for form in (_QUESTIONS if asked else _PHRASES)]
    return list(dict.fromkeys([instruction, *(other for other in others if other != instruction)]))[:count]


def agree(answers: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    """What most paraphrases of an instruction find.

    Args:
        answers: of each paraphrase on one frame, with soft masks, the instruction itself first.

    Returns:
        The objects that more than half of the paraphrases find, by falling score: ``probability`` is the mean
        over those that find it, ``score`` the mean over all (0 where it is not found), and ``agreement`` their
        share. Else one prediction with an empty mask, whose ``agreement`` is the share that finds nothing.
    """
    pooled = sorted(
        ((row, one) for row, some in enumerate(answers) for one in some if one.found),
        key=lambda pair: -pair[1].score,
    )
    groups: list[dict[int, Prediction]] = []
    for row, one in pooled:
        fitting = [
            (mask_iou(one.mask, next(iter(group.values())).mask), group) for group in groups if row not in group
        ]
        best = max(fitting, key=lambda pair: pair[0], default=(0.0, None))
        if best[1] is not None and best[0] >= SAME_OBJECT:
            best[1][row] = one
        else:
            groups.append({row: one})
    first, total = answers[0][0], len(answers)
    presence = float(np.mean([some[0].presence for some in answers]))
    kept = [group for group in groups if len(group) > total / 2]
    if not kept:
        empty = np.zeros(first.mask.shape, np.float32)
        none = sum(not some[0].found for some in answers) / total
        return [replace(first, mask=empty > 0, probability=empty, presence=presence, agreement=none)]
    found = []
    for group in kept:
        soft = np.mean([one.probability for one in group.values() if one.probability is not None], axis=0)
        score = sum(one.score for one in group.values()) / total
        share = len(group) / total
        found.append(
            replace(first, mask=soft > 0.5, probability=soft, score=score, presence=presence, agreement=share)
        )
    return sorted(found, key=lambda one: -one.score)
