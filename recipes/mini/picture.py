"""The picture of the README: ``python -m recipes.mini.picture --images FOLDER --output photographs.jpg``.

The folder holds photographs of facebookresearch/sam2 and facebookresearch/segment-anything (Apache-2.0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from instructseg import load, load_image

ASKED = (
    ("truck.jpg", "the truck"),
    ("00100.jpg", "the bed"),
    ("frame.jpg", "the woman"),
    ("cars.jpg", "the car"),
    ("dog.jpg", "the dog"),
    ("00100.jpg", "the elephant"),
)
WIDTH, HEIGHT, CAPTION = 300, 200, 26


def tile(path: Path, text: str) -> Image.Image:
    """A photograph with the mask of an instruction, and the instruction below."""
    (found,) = load().predict(load_image(path), text)
    frame = found.image
    assert frame is not None
    shown = frame.astype(float)
    shown[found.mask] = 0.45 * shown[found.mask] + 0.55 * np.array([30, 144, 255])
    image = Image.fromarray(shown.astype(np.uint8))
    scale = max(WIDTH / image.width, HEIGHT / image.height)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
    made = Image.new("RGB", (WIDTH, HEIGHT + CAPTION), "white")
    made.paste(image.crop((left, top, left + WIDTH, top + HEIGHT)))
    said = text if found.found else f"{text}: not there"
    ImageDraw.Draw(made).text((6, HEIGHT + 4), said, "black", ImageFont.load_default(15))
    return made


def main() -> None:
    """Reads the command line and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tiles = [tile(arguments.images / name, text) for name, text in ASKED]
    sheet = Image.new("RGB", (3 * WIDTH, 2 * (HEIGHT + CAPTION)), "white")
    for place, one in enumerate(tiles):
        sheet.paste(one, (place % 3 * WIDTH, place // 3 * (HEIGHT + CAPTION)))
    sheet.save(arguments.output, quality=85)


if __name__ == "__main__":
    main()
