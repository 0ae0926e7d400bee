"""Writes the tables and the chart of ``docs/performance.md`` and ``docs/deployment.md`` from the results alone.

    python -m perf.report

Tables stand between ``<!-- results:NAME -->`` and ``<!-- end -->``. A result that is missing leaves its table
as it is. Results that were measured with other weights than nano's are named.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from instructseg.inference.stream_options import SPEEDS
from perf.engines import engine_rows
from perf.workload import weights_digest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "perf" / "results"
PAGES = (ROOT / "docs" / "performance.md", ROOT / "docs" / "deployment.md")
CHART = ROOT / "docs" / "images" / "performance.svg"
TARGETS = {
    ("image", 10, None, ""): 1.4,
    ("video", 1, 1, ""): 1.25,
    ("video", 3, 1, ""): 1.45,
    ("video", 1, 4, ""): 2.8,
    ("video", 3, 4, ""): 4.2,
    ("image", 10, None, "few"): 3,
    ("video", 1, 1, "few"): 2.4,
    ("video", 1, 4, "few"): 6,
    ("video", 3, 4, "few"): 8,
}
"""Ratios asked for, by case, instructions, stride and tokens."""
TOKENS = {
    "": "",
    "half": ", 50 % of the image tokens",
    "few": ", 20 % of the image tokens",
    "few_both": ", 20 % of the perceiver's too",
}
"""Tokens that the language model reads, in words."""
TRAINED = ("stride", "spacing", "quantized", "tokens", "frontier")
"""Results that depend on the weights; the others have random ones."""
Row = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def case_name(row: Row) -> str:
    """A case in words."""
    texts = f"{row['instructions']} instruction{'s' if row['instructions'] > 1 else ''}"
    few = TOKENS[row.get("tokens", "")]
    if row["case"] == "image":
        return f"image, {texts}{few}"
    stride, every = row["llm_stride"], "every frame" if few else "exact"
    return f"video, {texts}, {every if stride == 1 else f'stride {stride}'}{few}"


def target_of(row: Row) -> float | None:
    """The ratio asked for in a case."""
    return TARGETS.get((row["case"], row["instructions"], row.get("llm_stride"), row.get("tokens", "")))


def digits(value: float) -> str:
    """Three digits, or all in front of the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratios(rows: Sequence[Row]) -> str:
    """Official and ours, with what was asked for; where turns were counted, with the range of their ratios."""
    counted = all("repeats" in row for row in rows)
    lines = []
    for row in rows:
        line = [
            case_name(row), digits(row["official_s"]), digits(row["ours_s"]), f"**{row['ratio']:.2f}**",
            target_of(row) or "–",
        ]  # fmt: skip
        if counted:
            line += [f"{row['lowest']:.2f} – {row['highest']:.2f}", row["repeats"]]
        lines.append(line)
    head = [
        "case",
        "official, s",
        "ours, s",
        "ratio",
        "asked for",
        *(["single turns", "turns"] if counted else []),
    ]
    return table(head, lines)


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


def points(row: Row) -> str:
    """A difference of percentages with the interval of the bootstrap."""
    return f"{100 * row['difference']:+.2f} ({100 * row['low']:+.2f} to {100 * row['high']:+.2f})"


def stride(values: Row) -> str:
    """What a stride and a delay cost."""
    lines = [
        [row["setting"], f"{100 * row['jf']:.2f}", points(row) if number else "–",
         "above -1.0" if row["setting"] == "stride 4" else "–",
         *(f"{row[name]:.2f}" for name in ("llm_per_row", "siglip_per_frame"))]
        for number, row in enumerate(values["rows"])
    ]  # fmt: skip
    head = ["setting", "J&F, %", "points to exact", "asked for", "language model", "SigLIP"]
    return table(head, lines)


def spacing(values: Row) -> str:
    """What spaced references bring."""
    lines = [
        [row["setting"], f"{100 * row['jf']:.2f}", points(row) if number else "–"]
        for number, row in enumerate(values["rows"])
    ]
    return table(["references", "J&F, %", "points to spacing 1"], lines)


def track(values: Row) -> str:
    """What carrying masks on changes, against the same predictions without it."""
    lines = []
    for videos, model in (("drawn", "`nano`"), ("filmed", "`mini`")):
        for row in values.get(videos, {"rows": []})["rows"]:
            threshold = "that of the weights" if row["threshold"] else "none"
            off, flow, forward = row["jf"][:3]
            cells = [f"{100 * one['value']:.2f}" for one in (off, flow)]
            empty = [f"{100 * one['value']:.2f}" for one in row.get("left_empty", [])[:2]] or ["–", "–"]
            empty.append(f"{100 * row['off_as_empty']['jf']:.2f}" if "off_as_empty" in row else "–")
            name = f"{model}, stride {row['stride']}, {threshold}"
            lines.append([name, *cells, points(flow), points(forward), *empty])
    head = ["model, stride, threshold", "off, J&F, %", "`flow`", "points", "points, forward alone",
            "absent: left empty, off, %", "`flow`", "off with as many left empty, J&F, %"]  # fmt: skip
    return table(head, lines)


def track_between(values: Row) -> str:
    """Frames between key frames: true masks carried on, and the model's carried on instead of its own."""
    lines = []
    for videos in ("drawn", "filmed"):
        found = values.get(videos, {"rows": [], "bound": []})
        for row in (row for row in found["rows"] if row["stride"] > 1 and not row["threshold"]):
            true = {one["between"]: one["jf"] for one in found["bound"] if one["stride"] == row["stride"]}
            shown = [true["held"], true["flow"], row["jf"][0]["value"], row["jf"][3]["value"]]
            name = f"{videos} videos, every {row['stride']}th frame"
            lines.append([name, *(f"{100 * one:.2f}" for one in shown)])
    head = ["key frames", "true masks held, J&F, %", "true masks, flow", "the model on every frame",
            "the model's key frames, flow"]  # fmt: skip
    return table(head, lines)


def tokens(values: Row) -> str:
    """What fewer visual tokens cost: cIoU with all of them, then points to it."""
    rows = {(row["asked"], row["setting"]): row for row in values["rows"]}
    asked, settings = (list(dict.fromkeys(names)) for names in zip(*rows, strict=True))
    lines = [[f"{settings[0]}: cIoU, %", *(f"{100 * rows[one, settings[0]]['ciou']:.2f}" for one in asked)]]
    lines += [[setting, *(points(rows[one, setting]) for one in asked)] for setting in settings[1:]]
    return table(
        ["tokens read", *(f"{one} ({rows[one, settings[0]]['instructions']})" for one in asked)], lines
    )


def frontier(values: Row) -> str:
    """J&F and the seconds of a frame at the released size, by stride and tokens."""
    names = {what: f"`{name}`" for name, what in SPEEDS.items()}
    lines = [
        [row["setting"], f"{100 * row['jf']:.2f}", points(row) if number else "–", digits(row["full_s"]),
         f"{row['ratio']:.2f}", names.get((row["llm_stride"], row["keep_tokens"]), "–")]
        for number, row in enumerate(values["rows"])
    ]  # fmt: skip
    return table(["setting", "J&F, %", "points to exact", "s per frame", "ratio", "`--speed`"], lines)


def quantized(values: Row) -> str:
    """What fewer bits cost."""
    lines = []
    for number, row in enumerate(values["rows"]):
        line = [row["setting"]]
        for what in ("pictures", "clips"):
            line += [f"{100 * row[what]['ciou']:.2f}", points(row[what]) if number else "–"]
        lines.append([*line, "above -0.5" if row["setting"].endswith("int8") else "–"])
    head = [
        "setting",
        "pictures, cIoU, %",
        "points to float32",
        "clips, cIoU, %",
        "points to float32",
        "asked for",
    ]
    return table(head, lines)


def limits(values: Row) -> str:
    """Expected and used memory."""
    lines = []
    for row in values["rows"]:
        seen = f"{row['frames']} frames, {row['fps']}/s" if row["frames"] > 1 else "1 frame"
        cells = [f"{row[name] / 1e6:,.0f} MB" for name in ("weights", "expected")]
        for name in ("peak", "handed_back"):
            error = f"{100 * (row['expected'] / row[name] - 1):+.1f} %"
            cells.append(f"{row[name] / 1e6:,.0f} MB ({error})")
        lines.append([f"{row['size']}, {seen}", row["instructions"], *cells])
    return table(["model", "instructions", "weights", "expected", "measured", "handed back at once"], lines)


def edges(values: Row) -> str:
    """What moving outlines to edges of the image gains and costs."""
    names = ("f1", "f2", "f4", "j")
    lines = [
        [f"`{row['model']}`, {row['images']} ({row['masks']} masks)",
         *(f"{100 * row['off'][name]:.1f} → {100 * row['on'][name]:.1f}" for name in names), f"{row['ms']:.0f}"]
        for row in values["rows"]
    ]  # fmt: skip
    return table(["weights, images", "F, 1 pixel", "2 pixels", "4 pixels", "J", "ms per mask"], lines)


TABLES: dict[str, tuple[str, Callable[[Row], str]]] = {
    "nano": ("speed_nano", lambda values: ratios(values["rows"])),
    "width": ("speed_width", lambda values: ratios(values["rows"])),
    "full": ("speed_full", lambda values: ratios(values["rows"])),
    "composed": ("stages", lambda values: ratios(values["composed"])),
    "stages": ("stages", stages),
    "int8": ("stages", int8),
    "engines": ("engines", lambda values: table(*engine_rows(values))),
    "starts": ("startup", starts),
    "loading": ("startup", loading),
    "memory": ("memory", memory),
    "training": ("training", training),
    "stride": ("stride", stride),
    "spacing": ("spacing", spacing),
    "track": ("track", track),
    "track_between": ("track", track_between),
    "quantized": ("quantized", quantized),
    "tokens": ("tokens", tokens),
    "tokens_mini": ("tokens_mini", tokens),
    "frontier": ("frontier", frontier),
    "limits": ("limits", limits),
    "edges": ("edges", edges),
}
"""Tables by name: the file they come from and how they are written."""


def filled(page: str, results: Path) -> str:
    """The page with its tables written anew.

    Raises:
        ValueError: the page has a table that is not known.
    """

    def write(name: str, old: str) -> str:
        if name not in TABLES:
            raise ValueError(f"no table '{name}': known are {', '.join(TABLES)}")
        file, draw = TABLES[name]
        path = results / f"{file}.json"
        return draw(json.loads(path.read_text())) if path.is_file() else old

    return rewritten(page, write)


def rewritten(page: str, write: Callable[[str, str], str]) -> str:
    """The page with each text between marks as ``write`` gives it, from its name and what stands there."""

    def between(match: re.Match[str]) -> str:
        name, old = match.group(1), match.group(2).strip()
        return f"<!-- results:{name} -->\n{write(name, old)}\n<!-- end -->"

    return re.sub(r"<!-- results:(\w+) -->(.*?)<!-- end -->", between, page, flags=re.DOTALL)


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
        target = target_of(row)
        if target:
            x = left + scale * target
            parts.append(f'<path d="M{x:.1f} {y - 2}v22" stroke="#d05a28" stroke-width="3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def other_weights(results: Path, digest: str) -> list[str]:
    """Names of the results of trained weights that are not those of ``digest``."""
    files = {name: results / f"{name}.json" for name in TRAINED}
    measured = {name: json.loads(file.read_text())["weights"] for name, file in files.items() if file.is_file()}
    return [name for name, weights in measured.items() if weights != digest]


def main() -> None:
    """Writes pages and chart."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for page in PAGES:
        page.write_text(filled(page.read_text(), options.results))
    file = options.results / "stages.json"
    if file.is_file():
        CHART.write_text(chart(json.loads(file.read_text())["composed"]))
    for name in other_weights(options.results, weights_digest()):
        print(f"{name} was measured with other weights than nano's: run perf.{name} again")


if __name__ == "__main__":
    main()
