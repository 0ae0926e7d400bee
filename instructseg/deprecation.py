"""Old spellings of keyword arguments, accepted with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


def renamed_keyword(old: str, new: str) -> Callable[[_Function], _Function]:
    """Lets a function accept keyword ``old`` for ``new``, with a ``DeprecationWarning``.

    Raises (from the decorated function):
        TypeError: both are given.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{function.__qualname__}: give {new} alone, {old} is its old spelling")
                warnings.warn(f"{old}= is now {new}=", DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
