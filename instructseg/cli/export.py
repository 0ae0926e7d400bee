"""``instructseg export``: model parts for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructseg.cli.errors import reported

export_app = typer.Typer(help="Write parts of a model for other runtimes.", no_args_is_help=True)


@export_app.callback()
def common() -> None:
    """Write parts of a model for other runtimes."""


@export_app.command("onnx")
def onnx_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="Target folder.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="mini or nano (bundled), a folder, or a hub repository; default: mini."
        ),
    ] = None,
    size: Annotated[
        tuple[int, int] | None,
        typer.Option("--size", help="Height and width of the mask branch; default: the padded square."),
    ] = None,
    programs: Annotated[bool, typer.Option("--pt2", help="Also write .pt2 programs of torch.export.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder's files.")] = False,
) -> None:
    """Write vision tower, mask branch, text fusion and mask decoder as ONNX files.

    instructseg export onnx --output parts
    """
    with reported():
        if output.is_file() or (output.is_dir() and any(output.iterdir()) and not overwrite):
            raise ValueError(f"{output} exists: choose another folder, or add --overwrite")
        from instructseg.export import export_onnx
        from instructseg.pretrained import load_pretrained

        loaded, _ = load_pretrained(model, "cpu", "float32")
        try:
            files = export_onnx(loaded, output, size, programs=programs)
        except ImportError as error:
            raise ValueError(str(error)) from error
        for file in files:
            typer.echo(f"wrote {file}")
