"""Segments a video. Without arguments: a drawn clip, with the bundled model.

python demo/video.py
python demo/video.py --input clip.mp4 --prompt "the red circle moving left" --output out
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from instructseg.cli.app import prepare
from instructseg.cli.demo import demo_video
from instructseg.cli.errors import reported, stoppable
from instructseg.cli.segment import Job, segment_video


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FILE", help="video, folder of frames or picture")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="what to segment; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument("--model", metavar="NAME", help="folder or hub repository; default: the bundled model")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; default: the best there is")
    parser.add_argument("--dtype", metavar="NAME", help="float32, bfloat16, float16, or auto, the fastest")
    parser.add_argument("--threshold", type=float, metavar="P", help="presence below which a mask is empty")
    parser.add_argument(
        "--llm-stride", default="1", metavar="K", help="run the language model on every K-th frame, or auto"
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second of a folder; default: 24")
    parser.add_argument(
        "--spacing", type=int, metavar="N", help="frames from one reference to the next; default: by frame rate"
    )
    parser.add_argument("--compile", action="store_true", help="compile the model: pays on long clips")
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
        llm_stride=arguments.llm_stride,
        spacing=arguments.spacing,
        compile=arguments.compile,
        fps=arguments.fps,
    )
    with reported(), stoppable(), ExitStack() as stack:
        source, prompts = arguments.input, arguments.prompt
        if source is None:
            source, instruction = stack.enter_context(demo_video(job))
            prompts = prompts or [instruction]
        print(segment_video(source, prompts, job).to_text())


if __name__ == "__main__":
    main()
