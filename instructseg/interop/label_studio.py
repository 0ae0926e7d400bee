"""ML backend of Label Studio, whose ``model.py`` imports :class:`InstructSegBackend`.

The project's labels are the instructions; ``predicted_values`` says one that differs from the label::

    <PolygonLabels name="object" toName="image">
      <Label value="dog" predicted_values="the dog on the left"/>
    </PolygonLabels>

``INSTRUCTSEG_MODEL`` and ``INSTRUCTSEG_DEVICE`` choose model and device. Needs ``label-studio-ml``: 1.0.9,
which is on the package index, or the newer one of its repository, whose base class has other methods and
answers.
Brush strokes need ``label-studio-sdk``, too.
"""

from __future__ import annotations

import inspect
import os
import threading
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from instructseg.inference.predictor import Predictor
from instructseg.interop.annotate import find_objects, outlines
from instructseg.loading import load
from instructseg.prediction import Prediction
from instructseg.version import __version__

MODEL_VERSION = f"instructseg-{__version__}"
"""Of every prediction."""
_loading = threading.Lock()
_predictors: list[Predictor] = []


class InstructSegBackend(LabelStudioMLBase):  # type: ignore[misc]  # of Label Studio, which is untyped
    """Polygons or brush strokes for the tasks of a project."""

    def setup(self) -> None:
        """Tells the version of the predictions, where the base class asks for it (not in 1.0.9)."""
        self.set("model_version", MODEL_VERSION)

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Predictions for tasks, one each, as every version takes them.

        Raises:
            ValueError: the project has neither ``PolygonLabels`` nor ``BrushLabels`` on an image.
        """
        kind, control = self._control()
        name, labels = control["to_name"][0], _instructions(control["labels_attrs"])
        key = control["inputs"][0]["value"]
        predictions = []
        for task in tasks:
            path = self._file_of(task, key)
            found = find_objects(_predictor(), path, labels)
            results = [one for item in found for one in _results(item, kind, control["name"], name)]
            score = max((one.score for one in found), default=0.0)
            predictions.append({"result": results, "score": score, "model_version": MODEL_VERSION})
        return predictions

    def _file_of(self, task: dict[str, Any], key: str) -> Any:
        """The image of a task; the newer base class finds one in a cloud by the task alone."""
        options = {"task_id": task.get("id")}
        known = inspect.signature(self.get_local_path).parameters
        return self.get_local_path(task["data"][key], **{one: options[one] for one in options if one in known})

    def _control(self) -> tuple[str, dict[str, Any]]:
        for name, control in self.parsed_label_config.items():
            kind = control["type"].lower()
            if kind in ("polygonlabels", "brushlabels") and control["inputs"][0]["type"] == "Image":
                return kind, {"name": name, **control}
        raise ValueError(
            "the labelling configuration has no PolygonLabels or BrushLabels on an Image: add them"
        )


def _instructions(attributes: dict[str, dict[str, str]]) -> dict[str, str]:
    """Instruction by label."""
    return {label: values.get("predicted_values") or label for label, values in attributes.items()}


def _predictor() -> Predictor:
    """One for all requests of the process, loaded with the first."""
    with _loading:
        if not _predictors:
            device = os.environ.get("INSTRUCTSEG_DEVICE")
            name = os.environ.get("INSTRUCTSEG_MODEL") or None
            _predictors.append(load(name, device=device) if device else load(name))
    return _predictors[0]


def _results(one: Prediction, kind: str, from_name: str, to_name: str) -> list[dict[str, Any]]:
    """Regions of an object, in percent of the image's sides or as a brush stroke."""
    height, width = one.mask.shape
    shared = {
        "from_name": from_name,
        "to_name": to_name,
        "type": kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": one.score,
    }
    if kind == "brushlabels":
        try:
            from label_studio_sdk.converter import brush
        except ImportError as error:
            raise ValueError("brush strokes need label-studio-sdk: pip install label-studio-sdk") from error

        stroke = brush.mask2rle(one.mask.astype("uint8") * 255)
        return [{**shared, "value": {"format": "rle", "rle": stroke, kind: [one.label]}}]
    return [
        {
            **shared,
            "value": {
                "points": (line * (100 / width, 100 / height)).tolist(),
                "closed": True,
                kind: [one.label],
            },
        }
        for line in outlines(one)
    ]
