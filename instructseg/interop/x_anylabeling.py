"""Model of X-AnyLabeling-Server: imported by one line in its ``app/models/instructseg.py``.

::

    from instructseg.interop.x_anylabeling import InstructSegLabeler  # noqa: F401

``write_configuration`` writes its ``configs/auto_labeling/instructseg.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from app.core.registry import register_model
from app.models import BaseModel

from instructseg.files import write_text_atomic
from instructseg.interop.annotate import find_objects, outlines, parse_labels
from instructseg.loading import load

MODEL_ID = "instructseg"
CONFIGURATION = """\
model_id: instructseg
display_name: "InstructSeg"
batch_processing_mode: "text_prompt"

params:
  model: null           # folder or hub repository; null for the bundled mini
  device: null          # cpu, cuda, cuda:1; null for the best available
  conf_threshold: null  # presence below which nothing is marked; null for that of the weights
  tolerance: 1.0        # pixels by which polygons may miss the exact outline

widgets:
  - name: edit_text
    value: null
  - name: button_send
    value: null
  - name: toggle_preserve_existing_annotations
    value: false
"""


@register_model(MODEL_ID)
class InstructSegLabeler(BaseModel):  # type: ignore[misc]  # of the server, which is untyped
    """Polygons of what the text in the tool describes, as of ``parse_labels``."""

    def load(self) -> None:
        """Loads the predictor that the configuration names."""
        device = self.params.get("device")
        given = {} if device is None else {"device": device}
        self.predictor = load(self.params.get("model"), **given)

    def predict(self, image: np.ndarray, params: dict[str, Any]) -> dict[str, Any]:
        """Polygons on an image.

        Args:
            image: ``uint8[H, W, 3]`` BGR.
            params: of the request: ``text_prompt``, ``conf_threshold``.
        """
        labels = parse_labels(str(params.get("text_prompt") or ""))
        threshold = params.get("conf_threshold", self.params.get("conf_threshold"))
        found = find_objects(self.predictor, np.ascontiguousarray(image[..., ::-1]), labels, threshold)
        tolerance = float(self.params.get("tolerance", 1.0))
        shapes = [
            {
                "label": one.label,
                "shape_type": "polygon",
                "points": [*line.tolist(), line[0].tolist()],  # closed, as the tool draws it
                "score": one.score,
                "group_id": one.id or None,
            }
            for one in found
            for line in outlines(one, tolerance)
        ]
        return {"shapes": shapes, "description": ""}

    def unload(self) -> None:
        """Frees the model."""
        del self.predictor


def write_configuration(folder: str | Path) -> Path:
    """Writes the model's YAML file into the server's ``configs/auto_labeling`` and returns its path."""
    path = Path(folder) / f"{MODEL_ID}.yaml"
    write_text_atomic(path, CONFIGURATION)
    return path
