"""Writes the tables and the chart of ``docs/performance.md`` from the results, and nothing else.

    python -m benchmarks.report

Tables stand between ``<!-- results:NAME -->`` and ``<!-- end -->``. A result that is missing leaves its table
as it is.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"
TARGETS = {
    ("image", 10, None): 1.4,
    ("video", 1, 1): 1.25,
    ("video", 3, 1): 1.45,
    ("video", 1, 4): 2.8,
    ("video", 3, 4): 4.2,
}
"""Ratios asked for, by case, instructions and stride."""
Row = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def case_name(row: Row) -> str:
    """A case in words."""
    texts = f"{row['instructions']} instruction{'s' if row['instructions'] > 1 else ''}"
    if row["case"] == "image":
        return f"image, {texts}"
    stride = row["llm_stride"]
    return f"video, {texts}, {'exact' if stride == 1 else f'stride {stride}'}"


def digits(value: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratios(rows: Sequence[Row]) -> str:
    """Official and ours, with what was asked for."""
    lines = []
    for row in rows:
        official = row.get("official_s", row.get("official_s_per_frame"))
        ours = row.get("ours_s", row.get("ours_s_per_frame"))
        target = TARGETS.get((row["case"], row["instructions"], row.get("llm_stride")))
        lines.append([case_name(row), digits(official), digits(ours), f"**{row['ratio']:.2f}**", target or "–"])
    return table(["case", "official, s", "ours, s", "ratio", "asked for"], lines)


def stages(values: Row) -> str:
    """Every stage and its share of ``torch.mm``."""
    lines = [
        [name.replace("_", " "), f"{row['s']:.3f}", f"{row['gflop']:.1f}", f"{100 * row['of_mm']:.0f} %",
         f"{row['full_s']:.2f}"]
        for name, row in values["stages"].items()
    ]  # fmt: skip
    return table(["stage", "measured, s", "GFLOP", "of `torch.mm`", "all layers, s"], lines)


def starts(values: Row) -> str:
    """Start-up times."""
    asked = {"instructseg --help": "below 0.5"}
    lines = [
        [f"`{name}`", f"{row['processor_s']:.2f}", asked.get(name, "–")]
        for name, row in values["starts"].items()
    ]
    return table(["command", "processor, s", "asked for"], lines)


def loading(values: Row) -> str:
    """Loading against reading."""
    row = values["loading"]
    lines = [
        ["size of the file", f"{row['bytes'] / 1e9:.2f} GB", ""],
        ["reading the file, processor", f"{row['read_processor_s']:.2f} s", ""],
        ["`from_pretrained`, processor", f"{row['load_processor_s']:.2f} s", ""],
        ["time, of reading", f"**{row['time_ratio']:.2f}**", "at most 1.3"],
        ["peak memory, of the size", f"**{row['peak_ratio']:.2f}**", "below 1.15"],
    ]
    return table(["", "", "asked for"], lines)


def memory(values: Row) -> str:
    """Memory by frames."""
    lines = [
        [row["frames"], f"{row['resident'] / 2**20:.1f}", f"{row['peak'] / 2**20:.1f}"]
        for row in values["rows"]
    ]
    growth = [f"{100 * (values['growth'][name] - 1):+.1f} %" for name in ("resident", "peak")]
    return table(["frames", "resident, MiB", "peak, MiB"], [*lines, ["growth", *growth]])


def training(values: Row) -> str:
    """Training steps."""
    lines = [[f"step on {kind}s", f"{spent:.2f} s"] for kind, spent in values["step_s"].items()]
    lines += [
        ["preparing a batch", f"{values['batch_s']:.2f} s"],
        ["steps per second", f"**{values['steps_per_second']:.2f}**"],
    ]
    return table([f"batches of {values['rows_per_batch']} rows", ""], lines)


def int8(values: Row) -> str:
    """The language model's stage with 8-bit weights."""
    row = values["int8"]
    line = [f"{row['float32_s']:.2f}", f"{row['int8_s']:.2f}", f"**{row['ratio']:.2f}**", "1.5"]
    return table(["fp32, s", "int8, s", "ratio", "asked for"], [line])


TABLES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "nano": ("speed_nano", lambda values: ratios(values["rows"])),
    "width": ("speed_width", lambda values: ratios(values["rows"])),
    "full": ("speed_full", lambda values: ratios(values["rows"])),
    "composed": ("stages", lambda values: ratios(values["composed"])),
    "stages": ("stages", stages),
    "int8": ("stages", int8),
    "starts": ("startup", starts),
    "loading": ("startup", loading),
    "memory": ("memory", memory),
    "training": ("training", training),
}
"""Tables by name: the file they come from and how they are written."""


def filled(page: str, results: Path) -> str:
    """The page with its tables written anew.

    Raises:
        ValueError: the page has a table that is not known.
    """

    def write(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in TABLES:
            raise ValueError(f"no table '{name}': known are {', '.join(TABLES)}")
        file, draw = TABLES[name]
        path = results / f"{file}.json"
        text = draw(json.loads(path.read_text())) if path.is_file() else match.group(2).strip()
        return f"<!-- results:{name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- results:(\w+) -->(.*?)<!-- end -->", write, page, flags=re.DOTALL)


def chart(rows: Sequence[Row]) -> str:
    """Ratios as bars with what was asked for as a line; SVG."""
    bar, left, scale, width = 26, 250, 75, 680
    height = bar * len(rows) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="16">times as fast as the official procedure, all layers (line: asked for)</text>',
    ]
    for i, row in enumerate(rows):
        y = 28 + i * bar
        length = scale * row["ratio"]
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{case_name(row)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" fill="#3b6ea5"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 14}">{row["ratio"]:.2f}</text>')
        target = TARGETS.get((row["case"], row["instructions"], row.get("llm_stride")))
        if target:
            x = left + scale * target
            parts.append(f'<path d="M{x:.1f} {y - 2}v22" stroke="#d05a28" stroke-width="3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Writes page and chart."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    PAGE.write_text(filled(PAGE.read_text(), options.results))
    file = options.results / "stages.json"
    if file.is_file():
        CHART.write_text(chart(json.loads(file.read_text())["composed"]))


if __name__ == "__main__":
    main()
