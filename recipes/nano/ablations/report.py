"""Writes the tables and the chart of ``docs/ablations.md`` from the results of ``sweep`` alone.

    python -m recipes.nano.ablations.report

They stand between marks, as in ``perf.report``. What has no result yet says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from instructseg.files import write_text_atomic
from perf.report import ROOT, rewritten, table
from perf.workload import weights_digest
from recipes.nano.ablations.sweep import RESULTS
from recipes.nano.ablations.variants import MEASURES, TABLES

PAGE = ROOT / "docs" / "ablations.md"
CHART = ROOT / "docs" / "images" / "ablations.svg"
MISSING = "not yet run"
Runs = Mapping[str, Mapping[int, dict[str, Any]]]
"""Name of a variant -> seed -> result."""
_LEFT, _PANEL, _LINE = 190, 130, 22  # of the chart, in pixels


def read(folder: Path) -> Runs:
    """All results of a folder.

    Raises:
        ValueError: two of them have other settings.
    """
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    first: tuple[str, Any] | None = None
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        name, settings = first or (file.name, result["settings"])
        first = name, settings
        if result["settings"] != settings:
            raise ValueError(f"{name} is of {settings}, but {file.name} of {result['settings']}: run one again")
        runs.setdefault(result["variant"], {})[result["seed"]] = result
    return runs


def values(runs: Runs, variant: str, measure: str) -> dict[int, float]:
    """Seed -> figure in percent."""
    return {seed: 100 * run["figures"][measure]["value"] for seed, run in runs.get(variant, {}).items()}


def spread(found: Sequence[float], sign: str = "") -> str:
    """Mean, lowest and highest; in bold where they are differences that all have the same sign."""
    if not found:
        return MISSING
    mean, *ends = (f"{value:{sign}.1f}" for value in (fmean(found), min(found), max(found)))
    if len(found) == 1:
        return mean
    text = f"{mean} ({' to '.join(ends)})"
    return f"**{text}**" if sign and (min(found) > 0 or max(found) < 0) else text


def figures(runs: Runs, rows: Mapping[str, str]) -> str:
    """A table of what was reached, with a guess in the last line."""
    lines = [
        [label, *(spread(list(values(runs, variant, measure).values())) for measure in MEASURES)]
        for variant, label in rows.items()
    ]
    known = [run for variant in rows for run in runs.get(variant, {}).values()]
    guess = [100 * known[0]["figures"][measure]["chance"] for measure in MEASURES] if known else []
    lines.append(["a guess", *([f"{chance:.1f}" for chance in guess] or [MISSING] * len(MEASURES))])
    return table(["", *MEASURES.values()], lines)


def differences(runs: Runs, rows: Mapping[str, str]) -> str:
    """A table of points to the full model, seed by seed."""
    lines = []
    for variant, label in rows.items():
        if variant == "full":
            continue
        line = [label]
        for measure in MEASURES:
            found, full = values(runs, variant, measure), values(runs, "full", measure)
            line.append(spread([found[seed] - full[seed] for seed in found if seed in full], "+"))
        lines.append(line)
    return table([f"points to '{rows['full']}'", *MEASURES.values()], lines)


def both(runs: Runs, rows: Mapping[str, str]) -> str:
    """Reached figures and their differences to a reference."""
    if not runs:
        return f"The table is {MISSING}."
    return f"{figures(runs, rows)}\n\n{differences(runs, rows)}"


def settings(runs: Runs) -> str:
    """Describes a run in words."""
    every = [run for seeds in runs.values() for run in seeds.values()]
    if not every:
        return f"The study is {MISSING}."
    noted = every[0]["settings"]
    counts = [len(runs.get(variant, {})) for variant in {name for rows in TABLES.values() for name in rows}]
    seeds = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{max(counts)}"
    return (
        f"{len(every)} runs, {seeds} seeds of each variant, {noted['steps']} steps of training each, "
        f"{noted['instructions']} instructions of each kind; start: weights `{noted['weights']}`."
    )


def picture(runs: Runs) -> str:
    """The chart, where there is something to see."""
    return f"![Every variant by every figure](images/{CHART.name})" if runs else f"The chart is {MISSING}."


def writers(runs: Runs) -> dict[str, Callable[[], str]]:
    """Name of each text between marks -> what writes it."""
    made: dict[str, Callable[[], str]] = {"settings": partial(settings, runs), "chart": partial(picture, runs)}
    for name, rows in TABLES.items():
        made[name] = partial(both, runs, rows)
    return made


def filled(page: str, runs: Runs) -> str:
    """The page with its tables written anew.

    Raises:
        ValueError: the page has a table that is not known, or lacks one.
    """
    left = writers(runs)

    def write(name: str, _: str) -> str:
        if name not in left:
            raise ValueError(f"no table '{name}', or twice: left are {', '.join(left)}")
        return left.pop(name)()

    text = rewritten(page, write)
    if left:
        raise ValueError(f"the page has no place for {', '.join(left)}")
    return text


def chart(runs: Runs) -> str:
    """A panel for each figure, a line for each variant: mean, lowest and highest seed; SVG."""
    rows: list[tuple[str, str | None]] = []
    for number, variants in enumerate(TABLES.values(), start=6):
        rows.append((f"Table {number}", None))
        rows += [(label.replace("`", ""), variant) for variant, label in variants.items()]
    width, height = _LEFT + _PANEL * len(MEASURES) + 10, _LINE * len(rows) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (label, variant) in enumerate(rows):
        weight = ' font-weight="bold"' if variant is None else ""
        parts.append(f'<text x="{_LEFT - 10}" y="{54 + i * _LINE}" text-anchor="end"{weight}>{label}</text>')
    for column, (measure, title) in enumerate(MEASURES.items()):
        parts += _panel(_LEFT + column * _PANEL, title, measure, rows, runs)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    left: int, title: str, measure: str, rows: Sequence[tuple[str, str | None]], runs: Runs
) -> list[str]:
    """One figure: a scale of its own over all runs, and the mean of the full model as a line."""
    every = [value for variant in runs for value in values(runs, variant, measure).values()]
    low, high, inner = min(every), max(every), _PANEL - 24

    def x(value: float) -> str:
        return f"{left + inner * (value - low) / max(high - low, 1e-9):.1f}"

    bottom = 46 + _LINE * len(rows)
    name, _, part = title.partition(", ")
    parts = [f'<text x="{left}" y="16">{name.replace("&", "&amp;")}</text>']
    parts += [f'<text x="{left}" y="30" fill="#666">{part}</text>'] if part else []
    parts += [f'<text x="{x(end)}" y="{bottom + 8}" fill="#666">{end:.0f}</text>' for end in (low, high)]
    full = list(values(runs, "full", measure).values())
    if full:
        parts.append(f'<path d="M{x(fmean(full))} 38V{bottom - 6}" stroke="#d05a28" stroke-dasharray="3 3"/>')
    for i, (_, variant) in enumerate(rows):
        found = list(values(runs, variant, measure).values()) if variant else []
        if found:
            y, ends = 50 + i * _LINE, f"M{x(min(found))} {50 + i * _LINE}H{x(max(found))}"
            parts.append(f'<path d="{ends}" stroke="#3b6ea5" stroke-width="2"/>')
            parts.append(f'<circle cx="{x(fmean(found))}" cy="{y}" r="4" fill="#3b6ea5"/>')
    return parts


def main() -> None:
    """Writes page and chart."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE, help="whose tables are written")
    parser.add_argument("--chart", type=Path, default=CHART)
    options = parser.parse_args()
    runs = read(options.results)
    write_text_atomic(options.page, filled(options.page.read_text(), runs))
    if runs:
        write_text_atomic(options.chart, chart(runs))
    for variant, seeds in runs.items():
        if any(run["settings"]["weights"] != weights_digest() for run in seeds.values()):
            print(f"{variant} began with other weights than the bundled ones: run the sweep again")


if __name__ == "__main__":
    main()
