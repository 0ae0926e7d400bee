"""A row of the table of :mod:`recipes.systems.table`, as result files hold it."""

from __future__ import annotations

from typing import Any


def task_row(
    metric: str,
    measured: tuple[float, float | None],
    limit: Any,
    luck: float | None,
    goal: str | None,
    paper: str | None,
) -> dict[str, Any]:
    """The row of a task.

    Args:
        metric: its name.
        measured: with wording of training, and with wording kept out of it, if that was measured.
        limit: what the codec leaves of perfect answers.
        luck: of an answer that looks at nothing.
        goal: in words.
        paper: what the paper says, with its protocol.
    """
    values = {"metric": metric, "measured": measured[0], "unseen_wording": measured[1], "ceiling": limit}
    return {**values, "baseline": luck, "goal": goal, "paper": paper}
