"""Two photographs drawn by hand, as a COCO-shaped folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.masks import mask_to_rle

HEIGHT, WIDTH = 96, 160
BOXES = {
    # category, box (left, top, right, bottom), colour, single
    "yard": [
        ("dog", (10, 40, 40, 80), (120, 70, 30), True),
        ("dog", (60, 50, 80, 70), (250, 250, 250), True),
        ("dog", (120, 30, 155, 85), (10, 10, 10), True),
        ("cat", (85, 60, 105, 80), (128, 128, 128), True),
        ("grass", (0, 86, 160, 96), (30, 160, 30), False),
    ],
    "thing": [("object", (50, 20, 100, 80), (200, 20, 20), True)],
}


def rectangle(box: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    names = ["dog", "cat", "grass", "object", "horse"]
    images, annotations = [], []
    for number, (name, boxes) in enumerate(BOXES.items(), start=1):
        frame = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
        for category, box, colour, single in boxes:
            mask = rectangle(box)
            frame[mask] = colour
            rle = mask_to_rle(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": names.index(category) + 1,
                    "segmentation": rle,
                    "kind": "instance" if single else "region",
                }
            )
        Image.fromarray(frame).save(folder / "images" / f"{name}.png")
        complete = "all" if name == "yard" else "some"
        images.append(
            {"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
            | {"source": name, "split": "train", "complete": complete}
        )
    categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder
