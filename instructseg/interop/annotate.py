"""What every annotation tool asks for: an image and labels in, named objects with outlines out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from instructseg.inference.predictor import Predictor, RequestKeywords
from instructseg.media import ImageLike
from instructseg.polygons import mask_outlines
from instructseg.prediction import Prediction


def find_objects(
    predictor: Predictor, image: ImageLike, labels: Mapping[str, str], threshold: float | None = None
) -> list[Prediction]:
    """The objects that are there, in the order of the labels; each carries its label.

    Args:
        predictor: of any system.
        image: as its ``predict`` takes it.
        labels: instruction by label.
        threshold: presence (0..1) below which nothing is reported; ``None`` for that of the system.

    Raises:
        ValueError: there is no label, or as of ``predict``.
    """
    if not labels:
        raise ValueError("no label: give at least one, as in 'dog=the dog on the left'")
    options: RequestKeywords = {} if threshold is None else {"threshold": threshold}
    names = list(labels)
    found = predictor.predict(image, list(labels.values()), **options)
    return [replace(one, label=names[one.instruction_id]) for one in found if one.found]


def parse_labels(text: str) -> dict[str, str]:
    """Instruction by label, of a text such as ``"dog=the dog on the left; cat"``.

    Entries stand on lines of their own, or semicolons separate them; a label alone is its own instruction.

    Raises:
        ValueError: an entry is empty on one side, or a label occurs twice.
    """
    labels: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in re.split(r"[;\n]", text))):
        label, equals, instruction = (part.strip() for part in entry.partition("="))
        if not label or (equals and not instruction):
            raise ValueError(f"'{entry}' is no label: write 'label=instruction', or the label alone")
        if label in labels:
            raise ValueError(f"the label '{label}' occurs twice")
        labels[label] = instruction or label
    return labels


def outlines(found: Prediction, tolerance: float = 1.0) -> Sequence[np.ndarray]:
    """Outer outline of each part of a mask, ``float64[n, 2]`` of x and y, the largest first.

    Args:
        found: with a mask.
        tolerance: pixels by which they may miss the exact outline, with fewer points to drag.
    """
    return [part[0] for part in mask_outlines(found.mask, tolerance) if len(part[0]) >= 3]
