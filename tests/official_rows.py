"""Rows that the official code tokenised, with placeholders as negative ids, in our layout."""

from __future__ import annotations

from collections.abc import Sequence

from instructseg.processing.conversation import RunLengths, Sequences
from instructseg.structures import Role

OFFICIAL = {-200: Role.IMAGE, -201: Role.MASK, -204: Role.REFER, -205: Role.TEMPORAL}
"""Placeholders of the official code."""


def expand_official(
    input_ids: Sequence[int],
    labels: Sequence[int],
    instruction_ids: Sequence[int],
    lengths: RunLengths,
) -> Sequences:
    """Expands a row that the official code tokenised.

    Args:
        input_ids: without padding; a negative id denotes a placeholder.
        labels: as long as ``input_ids``; those of placeholders are dropped.
        instruction_ids: ids of ``<refer>``, the closing ``[SEG]`` included.
        lengths: of the other placeholders' runs.

    Raises:
        ValueError: ids and labels differ in number, or a negative id is unknown.
    """
    if len(input_ids) != len(labels):
        raise ValueError(f"{len(input_ids)} ids but {len(labels)} labels")
    row = Sequences()
    for number, label in zip(input_ids, labels, strict=True):
        if number >= 0:
            row.tokens([number])
            row.labels[-1] = label
            continue
        if number not in OFFICIAL:
            raise ValueError(f"id {number} is no placeholder; known are {sorted(OFFICIAL)}")
        if OFFICIAL[number] is Role.REFER:
            row.tokens(instruction_ids, Role.REFER)
        else:
            row.run(OFFICIAL[number], lengths)
    return row
