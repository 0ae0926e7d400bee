"""Segments a video. Without arguments: the shipped one, with the bundled model for photographs.

python demo/video.py
python demo/video.py --input clip.mp4 --prompt "the red circle moving left" --output out
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from instructseg import DEMO_VIDEO, FrameResult, VideoPredictor, open_video, save_results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FILE", help="video, or folder of frames")
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="object to segment; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument(
        "--model", metavar="NAME", help="mini or nano (bundled), a folder, or a hub repository; default: mini"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, mps; default: the best available")
    parser.add_argument("--dtype", metavar="NAME", help="float32, bfloat16, float16, or auto for the fastest")
    parser.add_argument("--threshold", type=float, metavar="P", help="presence below which a mask is empty")
    parser.add_argument(
        "--llm-stride", default="1", metavar="K", help="run the language model on every K-th frame, or auto"
    )
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second of a folder; default: 24")
    parser.add_argument(
        "--spacing", type=int, metavar="N", help="frames between references; default: by frame rate"
    )
    parser.add_argument("--compile", action="store_true", help="compile the model: pays off on long videos")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    given = parser.parse_args()
    if given.input and not given.prompt:
        parser.error("--input needs a --prompt")
    source, prompts = given.input or DEMO_VIDEO, given.prompt or ["the dog"]
    scores: list[list[float]] = [[] for _ in prompts]

    def counted(results: Iterator[FrameResult]) -> Iterator[FrameResult]:
        for result in results:
            for place, row in enumerate(scores):
                row.append(result.of(place)[0].score)  # the best, where several fit
            yield result

    try:
        video = open_video(source, given.fps)
        predictor = VideoPredictor.from_pretrained(given.model, given.device, given.dtype)
        if given.compile:
            predictor.compile()
        results = predictor.predict(
            video, prompts, threshold=given.threshold, llm_stride=given.llm_stride, spacing=given.spacing
        )
        files = save_results(
            counted(results), given.output, fps=video.fps, name=source.stem, overwrite=given.overwrite
        )
    except (OSError, ValueError, RuntimeError) as error:
        parser.error(str(error))
    except KeyboardInterrupt as error:
        parser.exit(130, f"{str(error) or 'interrupted'}\n")
    for prompt, row in zip(prompts, scores, strict=True):
        print(f"{prompt}: score {sum(row) / len(row):.3f} over {len(row)} frames")
    for file in files:
        print(f"wrote {file}")


if __name__ == "__main__":
    main()
