"""A model in a folder or a repository: read by our own readers, written together with its processor."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedModel

from instructseg.files import share
from instructseg.hub import HUB_OPTIONS, model_path
from instructseg.model.config_file import FOREIGN_LAYOUTS, OWN_LAYOUT, read_model_type

_WHOLE = ("model.safetensors", "model.safetensors.index.json")


class Processor(Protocol):
    """What can be written beside a model; a room of this rank cannot name the processor itself."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes its files."""


class StoredModel(PreTrainedModel):
    """The doors of :class:`~instructseg.model.InstructSeg` to the disk."""

    processor: Processor | None = None
    """What prepares its inputs; it is saved with the model."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, for every layout; files are read and checked by our own readers.

        Args:
            pretrained_model_name_or_path: any name of :func:`instructseg.hub.model_path`; ``None`` with
                ``config`` and ``state_dict``.
            args: none.
            kwargs: ``quantize``, arguments of the hub, and those of transformers.

        Raises:
            FileNotFoundError, ValueError: as :func:`instructseg.inference.load`.
        """
        kwargs = {name: value for name, value in kwargs.items() if name != "quantize" or value is not None}
        if pretrained_model_name_or_path is None:
            return super().from_pretrained(None, *args, **kwargs)
        for name in ("subfolder", "variant", "gguf_file"):
            if kwargs.pop(name, None):
                raise ValueError(f"{name} is not supported: give the folder that holds config.json and weights")
        if args:
            raise TypeError("an InstructSeg takes no arguments but its configuration: give config=")
        hub = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
        where = model_path(pretrained_model_name_or_path, **hub)
        folder = where if where.is_dir() else where.parent  # the official layout may be named by its weights
        kind = read_model_type(folder)["model_type"]
        module, _, loader = FOREIGN_LAYOUTS.get(kind, OWN_LAYOUT).partition(":")
        return getattr(import_module(module), loader)(where, **kwargs)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in transformers, and the processor with it where the model has one: the folder can then be loaded.

        Tensors keep the names of ``state_dict`` (no older names of Swin's).
        """
        folder = Path(save_directory)
        before = _written(folder)
        super().save_pretrained(save_directory, *args, **{"save_original_format": False, **kwargs})
        if not kwargs.get("is_main_process", True):
            return
        for path in folder.glob("model*.safetensors"):
            share(path)
        after = _written(folder)
        stale = [path for path in before if before[path] == after.get(path)]
        if len(stale) < len(after):  # an earlier model there was in shards and this one is not, or the reverse
            for path in stale:
                path.unlink()
        if self.processor is not None:
            self.processor.save_pretrained(folder)


def _written(folder: Path) -> dict[Path, int]:
    """The files that say where weights are, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in map(folder.joinpath, _WHOLE) if path.is_file()}
