"""``instructseg config``: the configurations that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructseg.cli.errors import reported
from instructseg.shipped import config_names, find_config

config_app = typer.Typer(help="List and show shipped configurations.", no_args_is_help=True)


@config_app.command("list")
def names_command() -> None:
    """List the configurations that 'train' and 'eval' find by name."""
    names = config_names()
    width = max(map(len, names))
    for name, file in names.items():
        typer.echo(f"{name:<{width}}  {_headline(file)}")


@config_app.command("show")
def text_command(
    name: Annotated[str, typer.Argument(help="A name of the list, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="With --merged.")
    ] = None,
    merged: Annotated[bool, typer.Option("--merged", help="Over its bases, interpolations filled in.")] = False,
) -> None:
    """Print a configuration, to be copied and changed.

    instructseg config show nano-tune > mine.yaml
    """
    with reported():
        file = find_config(name)
        if overrides and not merged:
            raise ValueError("overrides go with --merged: without it the file is printed as it is")
        typer.echo(_merged(file, overrides or []) if merged else file.read_text(encoding="utf-8"), nl=merged)


def _headline(file: Path) -> str:
    """The first line of comment, as a headline."""
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip().rstrip(".:") if first.startswith("#") else ""


def _merged(file: Path, overrides: list[str]) -> str:
    """What a run with these overrides reads, as YAML."""
    import yaml

    from instructseg.typed_yaml import Origins, merge, read_tree, read_words, resolve

    origins = Origins()
    tree = resolve(merge(read_tree(file, origins), read_words(overrides, origins)), str(file))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).rstrip()
