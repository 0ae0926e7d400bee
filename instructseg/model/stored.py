"""Saving a model together with its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedModel

from instructseg.files import share
from instructseg.hub import HubOptions

_WHOLE = ("model.safetensors", "model.safetensors.index.json")


class LoadOptions(HubOptions, total=False):
    """Options of the hub and of ``from_pretrained`` of transformers."""

    max_memory: dict[int | str, int | str]
    offload_folder: str | Path
    attn_implementation: str
    quantization_config: Any
    output_loading_info: bool


class Processor(Protocol):
    """A processor that can be written beside a model; a room of this rank cannot name its class."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes its files."""


class StoredModel(PreTrainedModel):
    """A ``PreTrainedModel`` that saves its processor with it."""

    processor: Processor | None = None
    """Prepares the inputs of the model; saved with it."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, for folders that :meth:`save_pretrained` wrote.

        ``instructseg.from_pretrained`` reads every layout, checks it, and quantizes while it reads.

        Raises:
            TypeError: ``quantize`` is given.
        """
        for name in ("quantize", "quantise"):
            if kwargs.pop(name, None) is not None:
                raise TypeError(f"{name} is an option of instructseg.from_pretrained, not of this class")
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in transformers, with the processor, if there is one: the folder can then be loaded.

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
    """The files that locate the weights, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in map(folder.joinpath, _WHOLE) if path.is_file()}
