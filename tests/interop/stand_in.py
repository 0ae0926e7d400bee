"""A small Detectron2: of its documented interface, what ``instructseg.interop.detectron2`` uses.

The contract is tested with it and, where Detectron2 can be imported, with the real one.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterator
from functools import wraps
from types import ModuleType, SimpleNamespace
from typing import Any

import torch


class CfgNode(dict):
    """A dictionary whose keys are attributes."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def get_cfg() -> CfgNode:
    return CfgNode(
        MODEL=CfgNode(META_ARCHITECTURE="GeneralizedRCNN", DEVICE="cpu"), INPUT=CfgNode(FORMAT="BGR")
    )


def configurable(init: Callable[..., None]) -> Callable[..., None]:
    @wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if args and isinstance(args[0], CfgNode):
            kwargs = type(self).from_config(*args, **kwargs)
            args = ()
        init(self, *args, **kwargs)

    return wrapped


class Metadata(SimpleNamespace):
    def set(self, **values: Any) -> Metadata:
        self.__dict__.update(values)
        return self


class _DatasetCatalog(UserDict):
    def register(self, name: str, function: Callable[[], list[dict]]) -> None:
        assert callable(function)
        assert name not in self, f"{name} is already registered"
        self[name] = function

    def get(self, name: str) -> list[dict]:  # type: ignore[override]
        return self[name]()

    def remove(self, name: str) -> None:
        self.pop(name)


class _MetadataCatalog(UserDict):
    def get(self, name: str) -> Metadata:  # type: ignore[override]
        return self.setdefault(name, Metadata(name=name))

    def remove(self, name: str) -> None:
        self.pop(name)


class DatasetEvaluator:
    def reset(self) -> None: ...
    def process(self, inputs: list, outputs: list) -> None: ...
    def evaluate(self) -> Any: ...


class Registry:
    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    def register(self) -> Callable[[Any], Any]:
        def decorate(entry: Any) -> Any:
            assert entry.__name__ not in self.known
            self.known[entry.__name__] = entry
            return entry

        return decorate

    def get(self, name: str) -> Any:
        return self.known[name]


class Boxes:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, item: Any) -> Boxes:
        return Boxes(self.tensor[item])


class BitMasks:
    def __init__(self, tensor: torch.Tensor) -> None:
        assert tensor.ndim == 3
        self.tensor = tensor.bool()

    def __len__(self) -> int:
        return len(self.tensor)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.tensor

    def __getitem__(self, item: Any) -> BitMasks:
        return BitMasks(self.tensor[item])

    def get_bounding_boxes(self) -> Boxes:
        boxes = torch.zeros(len(self), 4)
        for box, mask in zip(boxes, self.tensor, strict=True):
            y, x = mask.nonzero(as_tuple=True)
            if len(x):
                box[:] = torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1])
        return Boxes(boxes)


class Instances:
    def __init__(self, image_size: tuple[int, int], **fields: Any) -> None:
        super().__setattr__("image_size", image_size)
        super().__setattr__("fields", {})
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        assert not self.fields or len(value) == len(self), f"{name} has {len(value)} entries"
        self.fields[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "fields" or name not in self.fields:
            raise AttributeError(name)
        return self.fields[name]

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def __getitem__(self, item: Any) -> Instances:
        return Instances(self.image_size, **{name: value[item] for name, value in self.fields.items()})


def modules() -> dict[str, ModuleType]:
    """The stand-in as modules, fresh catalogs and registry included."""
    contents: dict[str, dict[str, Any]] = {
        "detectron2": {},
        "detectron2.config": {"CfgNode": CfgNode, "configurable": configurable, "get_cfg": get_cfg},
        "detectron2.data": {"DatasetCatalog": _DatasetCatalog(), "MetadataCatalog": _MetadataCatalog()},
        "detectron2.evaluation": {"DatasetEvaluator": DatasetEvaluator},
        "detectron2.modeling": {"META_ARCH_REGISTRY": Registry()},
        "detectron2.structures": {"BitMasks": BitMasks, "Boxes": Boxes, "Instances": Instances},
    }
    made = {}
    for name, values in contents.items():
        made[name] = ModuleType(name)
        vars(made[name]).update(values)
    return made
