"""Segments a picture. Without arguments: a drawn one, with the bundled model.

python demo/image.py
python demo/image.py --input photo.jpg --prompt "the red circle" --output out
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from instructseg.cli.app import prepare
from instructseg.cli.demo import demo_image
from instructseg.cli.errors import reported, stoppable
from instructseg.cli.segment import Job, segment_pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FILE", help="picture, or folder of pictures")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="what to segment; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument("--model", metavar="NAME", help="folder or hub repository; default: the bundled model")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; default: the best there is")
    parser.add_argument("--dtype", metavar="NAME", help="float32, bfloat16, float16, or auto, the fastest")
    parser.add_argument("--threshold", type=float, metavar="P", help="presence below which a mask is empty")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    arguments = parser.parse_args()
    if arguments.input and not arguments.prompt:
        parser.error("--input needs a --prompt")
    prepare()
    job = Job(
        arguments.output,
        arguments.model,
        arguments.device,
        arguments.dtype,
        threshold=arguments.threshold,
        overwrite=arguments.overwrite,
    )
    with reported(), stoppable(), ExitStack() as stack:
        source, prompts = arguments.input, arguments.prompt
        if source is None:
            source, instruction = stack.enter_context(demo_image(job))
            prompts = prompts or [instruction]
        for summary in segment_pictures(source, prompts, job):
            print(summary.to_text())


if __name__ == "__main__":
    main()
