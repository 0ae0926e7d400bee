"""Row of the catalog of data sets, and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from instructseg.data.dataset import Dataset, Parts

Options = Mapping[str, Any]

Opener = Callable[[Path, str | None, Options], Dataset]
"""Takes the root, the split (``None`` for all) and every option of the row."""

Paper = Mapping[str, Mapping[str, float]]
"""Row of the result table -> metric -> percent."""


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a data set, under one name of ``eval.benchmark``.

    Attributes:
        name: in ``eval.benchmark``.
        metric: key of :data:`instructseg.benchmarks.table.METRICS`.
        splits: the usual one first; empty where the data decide. ``None``: those of the data set.
        open: ``None``: as the data set.
        options: of ``open`` -> default value, which also gives the type. ``None``: as the data set.
        submission: key of :data:`instructseg.benchmarks.submission.LAYOUTS`, ``vqav2``, ``mmbench`` or empty.
        suffix: end of the result's name, from the options.
    """

    name: str
    metric: str
    splits: tuple[str, ...] | None = None
    open: Opener | None = None
    options: Options | None = None
    submission: str = ""
    paper: Paper = field(default_factory=dict)
    suffix: Callable[[Options], str] = lambda options: ""


@dataclass(frozen=True)
class CatalogRow:
    """One data set.

    Attributes:
        title: for people.
        open: raises as the adapter.
        splits: the usual one first; empty where there is only one, or where the data decide.
        options: of ``open`` -> default value in checks and training.
        parts: what a check opens, from the root and every option of the row; ``None``: every split.
        evaluations: of the data set or of its members.
        folder: below one root of all data sets, see :mod:`instructseg.interop.splits`; empty: none.
        public_name: of a split, in other frameworks; ``None``: name and split.
    """

    title: str
    open: Opener
    splits: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    parts: Callable[[Path, Options], Parts] | None = None
    evaluations: tuple[Evaluation, ...] = ()
    folder: str = ""
    public_name: Callable[[str], str] | None = None


def complete_options(what: str, known: Options, given: Options, place: str = "options") -> dict[str, Any]:
    """The options with their defaults.

    Args:
        what: whose options, for errors.
        known: name -> default; a given value has the same type, or any where the default is ``None``.
        place: of the options in the configuration, for errors.

    Raises:
        ValueError: there is no such option, or it has another type; names the closest option.
    """
    for name, value in given.items():
        if name not in known:
            closest = get_close_matches(name, known, n=1, cutoff=0.0)
            hint = f"; the closest is '{closest[0]}'" if closest else ""
            raise ValueError(f"{place}.{name}: {what} has no such option{hint}")
        wanted = type(known[name])
        fits = type(value) is wanted or (wanted is float and type(value) is int) or known[name] is None
        if not fits:
            raise ValueError(f"{place}.{name}: expected {wanted.__name__}, got {value!r}")
    return {**known, **given}
