"""Options of InstructSeg that other systems do not have."""

from __future__ import annotations

from collections.abc import Mapping

from instructseg.inference.selection import AnswerOptions

_CALLED = {"arrange": "arrange (--classes)"}
"""Options that the command line calls otherwise."""


def check_loading(system: str, quantize: object, max_memory: object) -> None:
    """Refuses to load a small system quantized, or into a given memory.

    Raises:
        ValueError: one of them is asked for.
    """
    if quantize is not None or max_memory is not None:
        raise ValueError(f"{system} is neither quantized nor fitted to a memory: leave out these options")


def check_request(system: str, options: Mapping[str, object]) -> None:
    """Refuses further options of a prediction; those that ask for nothing pass.

    Raises:
        ValueError: there is one.
    """
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        named = ", ".join(_CALLED.get(name, name) for name in given)
        raise ValueError(f"{system} knows no {named}: leave it out, or choose another model")


def take_threshold(value: float | None) -> float | None:
    """The presence below which a mask is empty.

    Raises:
        ValueError: it is outside 0..1.
    """
    return AnswerOptions(value).threshold
