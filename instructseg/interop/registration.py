"""The pipeline of transformers is registered once both packages are imported, whichever comes first.

transformers has no place where other packages announce a task, and importing it takes seconds: ``import
instructseg`` only watches for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

PIPELINES = "transformers.pipelines"


class _RegisteringLoader(SourceFileLoader):
    """Runs the module as ever, then registers."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _register()


class _PipelinesFinder:
    """Finds one module, as the import system itself does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != PIPELINES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _RegisteringLoader(spec.loader.name, spec.loader.path)
        return spec


def register_with_transformers() -> None:
    """Registers now if transformers' pipelines are imported, else as soon as they are."""
    if PIPELINES in sys.modules:
        _register()
    elif not any(isinstance(one, _PipelinesFinder) for one in sys.meta_path):
        sys.meta_path.insert(0, _PipelinesFinder())


def _register() -> None:
    import instructseg.interop.huggingface  # noqa: F401  (which registers, maybe later on in its own import)
