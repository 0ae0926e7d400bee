"""Segments an image. Without arguments: the shipped one, with the bundled model for photographs.

python demo/image.py
python demo/image.py --input photo.jpg --prompt "the red circle" --output out
"""

import argparse
from pathlib import Path

from instructseg import DEMO_IMAGE, load, load_image, save_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FILE", help="image; default: the shipped one")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="object to segment; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument(
        "--model", metavar="NAME", help="mini or nano (bundled), a folder, or a hub repository; default: mini"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; default: the best available")
    parser.add_argument("--dtype", metavar="NAME", help="float32, bfloat16, float16, or auto for the fastest")
    parser.add_argument("--threshold", type=float, metavar="P", help="presence below which a mask is empty")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    given = parser.parse_args()
    if given.input and not given.prompt:
        parser.error("--input needs a --prompt")
    source, prompts = given.input or DEMO_IMAGE, given.prompt or ["the truck"]
    try:
        image = load_image(source)
        predictor = load(given.model, device=given.device, dtype=given.dtype)
        found = predictor.predict(image, prompts, threshold=given.threshold)
        files = save_results(found, given.output, image=image, name=source.stem, overwrite=given.overwrite)
    except (OSError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    except KeyboardInterrupt as error:
        parser.exit(130, f"{str(error) or 'interrupted'}\n")
    for one in found:
        print(f"{one.instruction}: " + (f"score {one.score:.3f}" if one.found else "nothing found"))
    for file in files:
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
