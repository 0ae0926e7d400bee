"""The images of the docs, drawn by the bundled models: ``python demo/gallery.py --photos FOLDER``.

FOLDER holds clones, or parts of them, of facebookresearch/sam2 and facebookresearch/segment-anything (both
Apache-2.0), whose photographs are shown. Without it, what needs only the shipped images and videos is drawn.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from instructseg import (
    DEMO_IMAGE,
    DEMO_VIDEO,
    DRAWN_IMAGE,
    DRAWN_VIDEO,
    draw_predictions,
    load,
    load_image,
    load_video,
    open_video,
    wants_words,
)

SHAPES = "shapes"
"""The source of an image that is drawn here: three circles, two squares, a triangle."""
WIDTH, FRAMES = 480, 4
"""Pixels of an image; frames shown of a video."""


@dataclass(frozen=True)
class Shown:
    """An image of the docs: its source, what is asked, and how.

    Attributes:
        source: a shipped file, the end of a path in FOLDER, or :data:`SHAPES`.
        asked: instructions, or questions to be answered in words; classes where ``arrange`` is given.
        model: name of a bundled model.
        arrange: see ``ImagePredictor.predict``.
    """

    source: Path | str
    asked: tuple[str, ...]
    model: str = "mini"
    arrange: str | None = None


GALLERY = {
    "truck": Shown(DEMO_IMAGE, ("the truck", "the road", "the building")),
    "absent": Shown(DEMO_IMAGE, ("the elephant", "the sky")),
    "classes": Shown(DEMO_IMAGE, ("truck", "road", "building", "sky"), arrange="panoptic"),
    "girl": Shown("bedroom/00100.jpg", ("the girl", "the bed")),
    "sleep": Shown("bedroom/00100.jpg", ("something to sleep on",)),
    "car": Shown("cars.jpg", ("the car",)),
    "bowl": Shown("dog.jpg", ("the bowl",)),
    "video": Shown(DEMO_VIDEO, ("the dog", "the woman")),
    "drawing": Shown(DRAWN_IMAGE, ("the red circle", "the largest shape"), "nano"),
    "moving": Shown(DRAWN_VIDEO, ("the fastest",), "nano"),
    "several": Shown(SHAPES, ("all the circles", "the triangle"), "nano"),
    "questions": Shown(SHAPES, ("what colour is the triangle?", "is there a star?"), "nano"),
    "miss-head": Shown("dog.jpg", ("the dog",)),
    "miss-side": Shown("cars.jpg", ("the car on the left",)),
    "miss-several": Shown("cars.jpg", ("all the cars",)),
    "miss-absent": Shown("cars.jpg", ("the sky", "the white car")),
    "miss-small": Shown(DEMO_IMAGE, ("the window", "the wheel")),
    "miss-bags": Shown("groceries.jpg", ("the bag",)),
    "miss-boy": Shown("bedroom/00100.jpg", ("the boy",)),
    "miss-shape": Shown(DRAWN_IMAGE, ("the yellow triangle",), "nano"),
    "miss-one": Shown(SHAPES, ("everything orange",), "nano"),
    "miss-count": Shown(SHAPES, ("how many circles are there?",), "nano"),
}
"""By name; those of answers that are wrong begin with ``miss-``."""

TILES = ("truck", "girl", "car", "sleep", "miss-head", "absent")
"""Shown together on the first page, with their first instruction."""
TILE = (300, 200)
"""Width and height of such an image, to which it is cropped."""


def shapes() -> np.ndarray:
    """The drawing, ``uint8[H, W, 3]``."""
    image = Image.new("RGB", (480, 360), (222, 230, 238))
    draw = ImageDraw.Draw(image)
    for x, y, fill in ((90, 90, (220, 30, 30)), (250, 260, (30, 80, 220)), (400, 100, (30, 160, 60))):
        draw.ellipse((x - 45, y - 45, x + 45, y + 45), fill=fill)
    for x, y in ((240, 90), (90, 260)):
        draw.rectangle((x - 40, y - 40, x + 40, y + 40), fill=(240, 140, 20))
    draw.polygon(((400, 215), (355, 300), (445, 300)), fill=(240, 215, 30))
    return np.asarray(image)


def read(source: Path | str, photos: Path | None) -> np.ndarray:
    """The image of a source, ``uint8[H, 480, 3]``."""
    if source == SHAPES:
        return shapes()
    path = Path(source)
    if not path.is_absolute():
        path = next(iter(sorted(photos.rglob(str(source)))), path) if photos else path
    image = Image.fromarray(load_image(path))
    return np.asarray(
        image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
    )


def draw(one: Shown, photos: Path | None) -> Image.Image:
    """The drawing of an entry, with a legend, or with questions and replies."""
    if one.source in (DEMO_VIDEO, DRAWN_VIDEO):
        return draw_video(one)
    image, predictor = read(one.source, photos), load(one.model)
    if wants_words(one.asked[0]):
        return with_lines(image, [f"{text}  {predictor.answer(image, text)}" for text in one.asked])
    found = predictor.predict(image, list(one.asked), arrange=one.arrange)
    return Image.fromarray(draw_predictions(image, found))


def draw_video(one: Shown) -> Image.Image:
    """Frames of a video, evenly spread over it, beside each other."""
    results = list(load_video(one.model).predict(open_video(one.source), list(one.asked)))
    chosen = [results[i * (len(results) - 1) // (FRAMES - 1)] for i in range(FRAMES)]
    drawn = [Image.fromarray(draw_predictions(result.frame, result.predictions)) for result in chosen]
    width, height = WIDTH // 2 * FRAMES, round(drawn[0].height * WIDTH / 2 / drawn[0].width)
    sheet = Image.new("RGB", (width, height))
    for place, frame in enumerate(drawn):
        sheet.paste(frame.resize((WIDTH // 2, height), Image.Resampling.LANCZOS), (place * WIDTH // 2, 0))
    return sheet


def with_lines(image: np.ndarray, lines: list[str], size: int = 18) -> Image.Image:
    """An image with lines of text below it."""
    height, width = image.shape[:2]
    made = Image.new("RGB", (width, height + (size + 8) * len(lines)), "white")
    made.paste(Image.fromarray(image))
    for place, line in enumerate(lines):
        at = (8, height + (size + 8) * place + 3)
        ImageDraw.Draw(made).text(at, line, "black", ImageFont.load_default(size))
    return made


def tile(one: Shown, photos: Path | None) -> Image.Image:
    """An image cropped to :data:`TILE`, with its first instruction below."""
    image = read(one.source, photos)
    (found,) = load(one.model).predict(image, one.asked[0], all_instances=False)
    drawn = Image.fromarray(draw_predictions(image, [found], legend="none"))
    width, height = TILE
    scale = max(width / drawn.width, height / drawn.height)
    drawn = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.Resampling.LANCZOS)
    left, top = (drawn.width - width) // 2, (drawn.height - height) // 2
    said = one.asked[0] if found.found else f"{one.asked[0]}: not there"
    return with_lines(np.asarray(drawn.crop((left, top, left + width, top + height))), [said], 15)


def first_page(photos: Path | None) -> Image.Image:
    """The image of the first page: :data:`TILES` in two rows."""
    tiles = [tile(GALLERY[name], photos) for name in TILES]
    width, height = tiles[0].size
    sheet = Image.new("RGB", (3 * width, 2 * height))
    for place, one in enumerate(tiles):
        sheet.paste(one, (place % 3 * width, place // 3 * height))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="searched for the photographs")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/images"), metavar="DIR", help="default: docs/images"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="an image by name; may be repeated")
    given = parser.parse_args()
    shipped = [name for name, one in GALLERY.items() if Path(one.source).is_absolute() or one.source == SHAPES]
    known = [*GALLERY, "photographs"] if given.photos else shipped
    if unknown := set(given.only or ()) - set(known):
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    (given.output / "gallery").mkdir(parents=True, exist_ok=True)
    for name in given.only or known:
        if name == "photographs":
            file, image = given.output / "photographs.jpg", first_page(given.photos)
        else:
            file, image = given.output / "gallery" / f"{name}.webp", draw(GALLERY[name], given.photos)
        image.save(file, quality=82)
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
