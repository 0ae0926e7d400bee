"""Options of commands, made from the fields of a job."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

from instructseg.cli.errors import reported, stoppable
from instructseg.jobs.job import Job, LegendChoice, TaskChoice, VideoTaskChoice


def with_job(command: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of :class:`Job`; the function gets them as ``job``.

    Errors are reported in one line, and signals end the command as Ctrl-C does.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        types = get_type_hints(Job)
        shown = [one for one in fields(Job) if command in one.metadata["commands"]]
        own = [
            one for one in inspect.signature(function, eval_str=True).parameters.values() if one.name != "job"
        ]
        added = []
        for one in shown:
            kind: Any = (one.metadata["types"] or {}).get(command, types[one.name])
            default = one.default
            if one.metadata["types"]:  # in the option's own type
                named = {TaskChoice: "auto", VideoTaskChoice: "auto", LegendChoice: default, str: str(default)}
                default = named.get(kind)
            annotation = Annotated[kind, one.metadata["option"]]
            keyword = inspect.Parameter.KEYWORD_ONLY
            added.append(inspect.Parameter(one.name, keyword, default=default, annotation=annotation))

        @functools.wraps(function)
        def run(**given: Any) -> None:
            with reported(), stoppable():
                settings = {one.name: given.pop(one.name) for one in shown}
                for one in shown:
                    if one.metadata["parse"] is not None:
                        settings[one.name] = one.metadata["parse"](settings[one.name])
                function(**given, job=Job(**settings))

        del run.__wrapped__  # type: ignore[attr-defined]  # typer would read the parameters of the function itself
        run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*own, *added]}
        return run

    return decorate
