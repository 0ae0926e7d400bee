"""Logging: standard loggers below ``instructseg``, shown by the programs."""

from __future__ import annotations

import logging

ROOT = "instructseg"


def get_logger(name: str) -> logging.Logger:
    """The logger of a module.

    Args:
        name: usually ``__name__``; a name outside the package is put below it.
    """
    inside = name == ROOT or name.startswith(f"{ROOT}.")
    return logging.getLogger(name if inside else f"{ROOT}.{name}")


def setup_logging(level: int | str = "INFO") -> None:
    """Shows the package's messages on stderr, in color; for programs, not for libraries.

    Called again, it only changes the level.

    Args:
        level: the least severe level to show, ``"DEBUG"`` .. ``"CRITICAL"`` or its number.

    Raises:
        ValueError: when there is no such level.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    # of a known name, logging returns the number; of an unknown one, a phrase
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"no log level '{level}': use one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    root = logging.getLogger(ROOT)
    root.setLevel(number)
    if not any(isinstance(handler, RichHandler) for handler in root.handlers):
        root.addHandler(RichHandler(console=Console(stderr=True), show_path=False))
