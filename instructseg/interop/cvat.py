"""Auto-annotation function of CVAT: ``--function-module instructseg.interop.cvat``. Needs ``cvat-sdk``.

::

    cvat-cli task auto-annotate 7 --function-module instructseg.interop.cvat \\
        -p labels=str:"dog=the dog on the left; ball" -p model=str:weic22/InstructSeg

The labels must be those of the task.
"""

from __future__ import annotations

from typing import Any

from instructseg.inference.predictor import Predictor
from instructseg.interop.annotate import find_objects, outlines, parse_labels
from instructseg.loading import load


class CvatFunction:
    """A detection function of CVAT.

    Attributes:
        labels: instruction by label.
        spec: of CVAT, with the labels.
    """

    def __init__(self, predictor: Predictor, labels: dict[str, str]) -> None:
        import cvat_sdk.auto_annotation as cvat

        self.predictor, self.labels = predictor, labels
        entries = [cvat.label_spec(name, number) for number, name in enumerate(labels)]
        self.spec = cvat.DetectionFunctionSpec(labels=entries)

    def detect(self, context: Any, image: Any) -> list[Any]:
        """Masks of the objects on a frame, or polygons where CVAT asks for them."""
        import cvat_sdk.auto_annotation as cvat
        from cvat_sdk.masks import encode_mask

        numbers, shapes = {name: number for number, name in enumerate(self.labels)}, []
        for one in find_objects(self.predictor, image, self.labels, context.conf_threshold):
            if context.conv_mask_to_poly:
                points = [line.ravel().tolist() for line in outlines(one)]
                shapes += [cvat.polygon(numbers[one.label], line) for line in points]
            else:
                shapes.append(cvat.mask(numbers[one.label], encode_mask(one.mask)))
        return shapes


def create(labels: str, model: str | None = None, device: str | None = None) -> CvatFunction:
    """The function, as CVAT's command line makes it.

    Args:
        labels: as of :func:`~instructseg.interop.annotate.parse_labels`.
        model: a folder or a hub repository; ``None`` for the bundled ``mini``.
        device: of the model; ``None`` for the best available.
    """
    predictor = load(model) if device is None else load(model, device=device)
    return CvatFunction(predictor, parse_labels(labels))
