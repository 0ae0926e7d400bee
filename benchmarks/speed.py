"""Images and video against the official procedure: the same weights, in the same run, taking turns.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --size nano --json benchmarks/results/speed_nano.json
    OMP_NUM_THREADS=1 python -m benchmarks.speed --size width --frames 8 --official-frames 1 --repeats 1 \\
        --json benchmarks/results/speed_width.json

Times are medians of processor seconds with one thread. What a clip costs is given per frame. The answers of
both sides are compared too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.official_procedure import OfficialProcedure
from benchmarks.workload import INSTRUCTIONS, SIZES, build, configuration, in_turns, pictures, save
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.structures import MaskPrediction

STRIDE = 4
_PICTURE = {"nano": (96, 128), "width": (480, 640), "full": (480, 640)}


def agreement(ours: Sequence[MaskPrediction], theirs: Sequence[MaskPrediction]) -> dict[str, float]:
    """The largest difference of scores, and the smallest share of equal pixels."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "score_difference": max(abs(a.score - b.score) for a, b in pairs),
        "equal_pixels": min(float(np.mean(a.mask == b.mask)) for a, b in pairs),
    }


def images(
    model: InstructSeg, processor: InstructSegProcessor, frame: np.ndarray, counts: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """One row per number of instructions."""
    official, ours = OfficialProcedure(model, processor), ImagePredictor(model, processor)
    rows = []
    for count in counts:
        texts = INSTRUCTIONS[:count]
        answers: dict[str, list[MaskPrediction]] = {}

        def theirs(texts: Sequence[str] = texts, answers: dict[str, Any] = answers) -> None:
            answers["official"] = official.image(frame, texts)

        def mine(texts: Sequence[str] = texts, answers: dict[str, Any] = answers) -> None:
            answers["ours"] = ours.segment(frame, texts)

        taken = in_turns({"official": theirs, "ours": mine}, repeats, warm=repeats > 1)
        rows.append(
            {
                "case": "image",
                "instructions": count,
                "official_s": taken["official"],
                "ours_s": taken["ours"],
                "ratio": taken["official"] / taken["ours"],
                **agreement(answers["ours"], answers["official"]),
            }
        )
        print(rows[-1], flush=True)
    return rows


def videos(
    model: InstructSeg,
    processor: InstructSegProcessor,
    frames: Sequence[np.ndarray],
    counts: Sequence[int],
    repeats: int,
    official_frames: int,
) -> list[dict[str, Any]]:
    """Rows of seconds per frame: exact and with a stride, per number of instructions."""
    official, ours = OfficialProcedure(model, processor), VideoPredictor(model, processor)
    step = len(frames) // official_frames
    only = list(range(step // 2, len(frames), step))[:official_frames]
    rows = []
    for count in counts:
        texts = INSTRUCTIONS[:count]
        answers: dict[str, list[MaskPrediction]] = {}

        def theirs(texts: Sequence[str] = texts, answers: dict[str, Any] = answers) -> None:
            answers["official"] = [one for row in official.video(frames, texts, only) for one in row]

        def mine(stride: int, texts: Sequence[str] = texts, answers: dict[str, Any] = answers) -> None:
            results = list(ours.predict(list(frames), texts, llm_stride=stride))
            answers[str(stride)] = [one for t in only for one in results[t].predictions]

        cases: dict[str, Callable[[], None]] = {
            "official": theirs,
            "1": lambda: mine(1),
            str(STRIDE): lambda: mine(STRIDE),
        }
        taken = in_turns(cases, repeats, warm=repeats > 1)
        per_frame = taken["official"] / len(only)
        for stride in (1, STRIDE):
            spent = taken[str(stride)] / len(frames)
            rows.append(
                {
                    "case": "video",
                    "instructions": count,
                    "llm_stride": stride,
                    "frames": len(frames),
                    "official_frames": len(only),
                    "official_s_per_frame": per_frame,
                    "ours_s_per_frame": spent,
                    "ratio": per_frame / spent,
                    **agreement(answers[str(stride)], answers["official"]),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Runs the cases of one size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--official-frames", type=int, help="frames of the clip that the official side does")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--image-counts", type=int, nargs="*", default=(1, 3, 10))
    parser.add_argument("--video-counts", type=int, nargs="*", default=(1, 3))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, processor = build(configuration(options.size))
    model.to(getattr(torch, options.dtype))
    frames = pictures(options.frames, *_PICTURE[options.size])
    count = options.official_frames or len(frames)
    rows = images(model, processor, frames[0], options.image_counts, options.repeats)
    rows += videos(model, processor, frames, options.video_counts, options.repeats, count)
    save(options.json, {"size": options.size, "dtype": options.dtype, "repeats": options.repeats, "rows": rows})


if __name__ == "__main__":
    main()
