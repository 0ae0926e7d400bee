"""Draws small copies of the data sets, with true masks, in every layout that is read.

    python -m recipes.nano.layouts copies --only refcoco

``instructseg data check`` and ``instructseg data show`` read them like the downloaded ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructseg.cli.errors import reported

app = typer.Typer(add_completion=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="This data set; may be repeated.")
    ] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Of each split of an image data set.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other scenes for another number.")] = 0,
) -> None:
    """Draw small copies of the data sets, in every layout that is read."""
    with reported():
        from recipes.nano.layouts.copies import write_copies

        for name, roots in write_copies(folder, only or (), pictures, seed).items():
            for root in roots:
                typer.echo(f"{name}: {root}")


if __name__ == "__main__":
    app()
