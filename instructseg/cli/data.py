"""``instructseg data``: checks data sets on disk and draws samples."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.cli.errors import reported

if TYPE_CHECKING:
    import numpy as np

    from instructseg.data.dataset import CheckReport, Dataset

FAULTY = 1
"""Exit code of a check that found problems."""

FRAMES = 8
"""Frames of a video in the drawing."""

data_app = typer.Typer(help="Check data sets on disk and draw samples.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="See 'instructseg data list'.")]
Root = Annotated[Path, typer.Option("--root", help="Folder of the data set; for custom data also a file.")]
Images = Annotated[
    Path | None,
    typer.Option("--images", help="COCO train2014, where it is not below the root (RefCOCO family)."),
]


@data_app.command("list")
def list_command() -> None:
    """List data sets and their splits, the usual one first."""
    from rich.console import Console
    from rich.table import Table

    from instructseg.data.catalog import CATALOG

    table = Table("name", "data set", "splits")
    for name, entry in CATALOG.items():
        table.add_row(name, entry.title, ", ".join(entry.splits))
    Console(markup=False).print(table)


@data_app.command("check")
def check_command(
    name: Name,
    root: Root,
    deep: Annotated[bool, typer.Option("--deep", help="Also read every image and decode every mask.")] = False,
    images: Images = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10**9, help="Problems of each kind to print.")
    ] = 20,
) -> None:
    """Report missing files and faults of a data set; exit code 1 where there are any.

    instructseg data check reasonseg --root data/ReasonSeg
    """
    with reported():
        from instructseg.data.catalog import check

        report = check(name, root, deep, _options(name, images))
        _print_counts(report)
        _print_problems(report, limit)
    if report.problems:
        raise typer.Exit(FAULTY)


@data_app.command("show")
def show_command(
    name: Name,
    root: Root,
    index: Annotated[
        int, typer.Option("--index", "-i", min=0, max=10**12, help="Index of the sample, from 0.")
    ] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write.")] = Path("sample.png"),
    split: Annotated[str | None, typer.Option("--split", help="Default: the usual one.")] = None,
    images: Images = None,
) -> None:
    """Draw a sample with its instruction and mask; several frames of a video.

    instructseg data show mevis --root data/mevis --index 3 --out sample.png
    """
    with reported():
        if out.exists() and root.resolve() in out.resolve().parents:
            raise ValueError(f"{out} is a file of the data set: choose another --out")
        from instructseg.data.catalog import open_split
        from instructseg.media import save_image

        dataset = open_split(name, root, split, _options(name, images))
        if index >= len(dataset):
            raise ValueError(f"--index {index}: {dataset.name} has {len(dataset):,} samples, counted from 0")
        drawing, text = _draw(dataset, index)
        save_image(out, drawing)
        typer.echo(f"{dataset.name}, sample {index} of {len(dataset):,}: {text}\nwrote {out}")


def _options(name: str, images: Path | None) -> dict[str, str]:
    """The options of a data set that the command line gives."""
    from instructseg.data.catalog import find

    if images is None:
        return {}
    if "images" not in find(name).options:
        raise ValueError(f"--images: the images of {name} lie below its root, not in a folder of their own")
    return {"images": str(images)}


def _print_counts(report: CheckReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "what", title=f"{report.name} in {report.root}")
    table.add_column("found", justify="right")
    table.add_column("expected", justify="right")
    for count in report.counts:
        wrong = count.expected not in (None, count.found)
        expected = "" if count.expected is None else f"{count.expected:,}"
        table.add_row(count.part, count.what, f"{count.found:,}", expected, style="red" if wrong else None)
    Console(markup=False).print(table)


def _print_problems(report: CheckReport, limit: int) -> None:
    """One unbroken line each, so that paths can be copied."""
    printed: Counter[str] = Counter()
    for problem in report.problems:
        printed[problem.fault.value] += 1
        if printed[problem.fault.value] <= limit:
            typer.echo(f"{problem.fault.value}: {problem}")
    for fault, count in printed.items():
        if count > limit:
            typer.echo(f"{fault}: {count - limit:,} more; --limit prints them")
    faults = ", ".join(f"{count:,} x {fault}" for fault, count in printed.items())
    typer.echo(f"{report.name}: {faults or 'no problems'}")


def _draw(dataset: Dataset, index: int) -> tuple[np.ndarray, str]:
    """Drawing of a sample, and its instruction."""
    from instructseg.data.referring_videos import ReferringVideos
    from instructseg.visualization import draw_clip, draw_sample

    if not isinstance(dataset, ReferringVideos):
        sample = dataset[index]
        return draw_sample(sample), sample.instruction
    clip, expression = dataset.locate(index)
    shown = min(FRAMES, len(clip))
    chosen = [k * (len(clip) - 1) // max(1, shown - 1) for k in range(shown)]
    frames = [clip.frames[t] for t in chosen]
    return draw_clip(frames, [clip.masks(expression, t) for t in chosen], [expression.text]), expression.text
