"""A field of the settings of a run, with its option of the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypedDict

import typer

if TYPE_CHECKING:
    from typing_extensions import Unpack


class OptionSettings(TypedDict, total=False):
    """What ``typer.Option`` is told of a value."""

    min: float
    max: float
    metavar: str


def job_option(
    default: Any,
    text: str,
    *names: str,
    commands: tuple[str, ...] = ("image", "video"),
    affects_results: bool = True,
    request: bool = False,
    parse: Callable[[Any], Any] | None = None,
    types: dict[str, Any] | None = None,
    **settings: Unpack[OptionSettings],
) -> Any:
    """A field of :class:`~instructseg.jobs.job.Job` with its option of the command line.

    Args:
        default: of field and option.
        text: help.
        names: e.g. ``--output``, ``-o``.
        commands: with this option.
        affects_results: whether results of another value are other results.
        request: whether a predictor takes it.
        parse: the option's value to that of the field.
        types: type of the option by command, if not that of the field.
        settings: of ``typer.Option``.
    """
    shown = typer.Option(*names, help=text, **settings)
    metadata = {
        "option": shown,
        "commands": commands,
        "affects": affects_results,
        "request": request,
        "parse": parse,
        "types": types,
    }
    return field(default=default, metadata=metadata)
