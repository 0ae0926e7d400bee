"""Models of the web page: each is loaded when a visitor first chooses it, and stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from instructseg.serve.limits import Limits
from instructseg.serve.page_actions import LIMITS, Page
from instructseg.serve.worker import Predictors


class PageModels:
    """A page for each model, by name.

    Args:
        loads: by name, what returns the predictors of a model; the first is loaded now.
        results: a folder for the files of all, deleted by its creator.
        limits: of each.
    """

    def __init__(
        self, loads: Mapping[str, Callable[[], Predictors]], results: Path, limits: Limits = LIMITS
    ) -> None:
        self._loads, self._results, self.limits = dict(loads), results, limits
        self._pages: dict[str, Page] = {}
        self._loading = threading.Lock()
        self.names = [*self._loads]
        self.first = self.page(self.names[0])

    def page(self, name: str) -> Page:
        """The page of a model.

        Raises:
            ValueError: there is no such model.
            Exception: whatever its loading raises; the next call tries again.
        """
        if name not in self._loads:
            raise ValueError(f"no model '{name}': choose one of {', '.join(self.names)}")
        if name in self._pages:  # not behind one that is being loaded
            return self._pages[name]
        with self._loading:
            if name not in self._pages:
                self._pages[name] = Page(*self._loads[name](), self._results, name, self.limits)
            return self._pages[name]

    def close(self) -> None:
        """Ends the work of all."""
        for page in self._pages.values():
            page.close()
