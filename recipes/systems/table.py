"""The table of ``docs/systems.md``, from result files alone: ``python -m recipes.systems.table [FILE ...]``.

A result file has ``system``, ``protocol``, ``scenes``, and for each task of ``tasks``: ``metric``,
``measured``, ``unseen_wording``, ``ceiling`` (what the codec leaves of perfect answers), ``baseline`` (an
answer that looks at nothing), ``goal`` and ``paper`` (what the paper says, with its protocol). A number that
was not measured is null.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instructseg.files import read_object
from recipes.systems.train import RESULTS

COLUMNS = ("measured", "unseen_wording", "ceiling", "baseline", "goal", "paper")
HEAD = (
    "system",
    "task",
    "metric",
    "n",
    "measured",
    "unseen wording",
    "codec ceiling",
    "baseline",
    "goal",
    "the paper says",
)
"""``n``: scenes of each wording."""


def table_of(results: Sequence[dict[str, Any]]) -> str:
    """Markdown of result files, a row for each task."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for one in results:
        for task, row in one["tasks"].items():
            values = [_shown(row.get(name)) for name in COLUMNS]
            lines.append((one["system"], task, row["metric"], str(one["scenes"]), *values))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: float | str | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:.3f}"


if __name__ == "__main__":
    files = [Path(file) for file in sys.argv[1:]] or sorted(RESULTS.glob("*.json"))
    print(table_of([read_object(file) for file in files]))
