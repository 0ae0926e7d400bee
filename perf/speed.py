"""Images and video against the official procedure: the same weights, in the same run, taking turns.

    OMP_NUM_THREADS=1 python -m perf.speed --size nano --json perf/results/speed_nano.json
    OMP_NUM_THREADS=1 python -m perf.speed --size width --frames 8 --exact-frames 5 --official-frames 1 \\
        --repeats 3 --limit 380 --json perf/results/speed_width.json

Whole calls, from pictures to masks. Times are medians of processor seconds with one thread; what a clip costs
is given per frame. The answers of both sides are compared too. The file is written after every turn, and
rows of cases that a run does not have stay: a run may be ended early, and cases may be measured one by one.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg
from instructseg.prediction import Prediction
from instructseg.processing import InstructSegProcessor
from perf.official_procedure import OfficialProcedure
from perf.workload import INSTRUCTIONS, SIZES, build, configuration, pictures, save, seconds

STRIDE = 4
_PICTURE = {"nano": (96, 128), "width": (480, 640), "full": (480, 640)}
Answers = list[Prediction]


def agreement(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> dict[str, float]:
    """The largest difference of scores, and the smallest share of equal pixels."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "score_difference": max(abs(a.score - b.score) for a, b in pairs),
        "equal_pixels": min(float(np.mean(a.mask == b.mask)) for a, b in pairs),
    }


class Contest:
    """The official procedure and ours on the same input, taking turns.

    Args:
        case: what the rows say of it, ``case`` and ``instructions``.
        official: gives the answers that are compared, and how many frames it did.
        ours: likewise, by stride of the language model (``None`` for pictures); the answers on the same frames.
    """

    def __init__(
        self,
        case: Mapping[str, Any],
        official: tuple[Callable[[], Answers], int],
        ours: Mapping[int | None, tuple[Callable[[], Answers], int]],
    ) -> None:
        self._case, self._ours = case, ours
        self._sides = {"official": official, **ours}
        self._seconds: dict[Any, list[float]] = defaultdict(list)
        self._answers: dict[Any, Answers] = {}

    def turn(self, timed: bool = True) -> None:
        """Calls each side once."""
        for side, (call, frames) in self._sides.items():

            def run(side: Any = side, call: Callable[[], Answers] = call) -> None:
                self._answers[side] = call()

            spent = seconds(run) / frames
            if timed:
                self._seconds[side].append(spent)

    @property
    def spent(self) -> float:
        """Processor seconds of all turns so far."""
        return sum(sum(self._seconds[side]) * frames for side, (_, frames) in self._sides.items())

    def rows(self) -> list[dict[str, Any]]:
        """One per stride: medians of seconds per frame, their ratio, and the range of the turns' ratios."""
        official = self._seconds["official"]
        found = []
        for stride, (_, frames) in self._ours.items() if official else ():
            ours = self._seconds[stride]
            single = [theirs / mine for theirs, mine in zip(official, ours, strict=True)]
            theirs, mine = statistics.median(official), statistics.median(ours)
            found.append(
                {
                    **self._case,
                    "llm_stride": stride,
                    "repeats": len(ours),
                    "official_frames": self._sides["official"][1],
                    "frames": frames,
                    "official_s": theirs,
                    "ours_s": mine,
                    "ratio": theirs / mine,
                    "lowest": min(single),
                    "highest": max(single),
                    **agreement(self._answers[stride], self._answers["official"]),
                }
            )
        return found


def images(
    model: InstructSeg, processor: InstructSegProcessor, frame: np.ndarray, counts: Sequence[int]
) -> list[Contest]:
    """One per number of instructions."""
    official, ours = OfficialProcedure(model, processor), ImagePredictor(model, processor)
    found = []
    for count in counts:
        texts = INSTRUCTIONS[:count]
        sides = partial(official.image, frame, texts), partial(ours.segment, frame, texts)
        case = {"case": "image", "instructions": count}
        found.append(Contest(case, (sides[0], 1), {None: (sides[1], 1)}))
    return found


def videos(
    model: InstructSeg,
    processor: InstructSegProcessor,
    frames: Sequence[np.ndarray],
    counts: Sequence[int],
    exact_frames: int,
    official_frames: int,
) -> list[Contest]:
    """One per number of instructions, each with the exact procedure and a stride.

    Args:
        model, processor: of both sides.
        frames: the clip, ``uint8[H, W, 3]`` each.
        counts: of instructions.
        exact_frames: so many of the first frames are what the exact procedure is given.
        official_frames: so many of these the official one does; each costs the same.
    """
    official, ours = OfficialProcedure(model, processor), VideoPredictor(model, processor)
    step = exact_frames // official_frames
    only = list(range(step // 2, exact_frames, step))[:official_frames]

    def theirs(texts: Sequence[str]) -> Answers:
        return [one for row in official.video(frames[:exact_frames], texts, only) for one in row]

    def mine(texts: Sequence[str], count: int, stride: int) -> Answers:
        results = list(ours.predict(list(frames[:count]), texts, llm_stride=stride, threshold=0))
        return [one for t in only for one in results[t].predictions]

    found = []
    for count in counts:
        texts = INSTRUCTIONS[:count]
        sides = {
            stride: (partial(mine, texts, length, stride), length)
            for stride, length in ((1, exact_frames), (STRIDE, len(frames)))
        }
        case = {"case": "video", "instructions": count}
        found.append(Contest(case, (partial(theirs, texts), len(only)), dict(sides)))
    return found


def main() -> None:
    """Runs the cases of one size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--frames", type=int, default=24, help="of the clip")
    parser.add_argument("--exact-frames", type=int, help="first frames that the exact side does; default: all")
    parser.add_argument("--official-frames", type=int, help="of these, those the official side does")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--limit",
        type=float,
        default=float("inf"),
        help="processor seconds after which a case has no more turns",
    )
    parser.add_argument("--image-counts", type=int, nargs="*", default=(1, 3, 10))
    parser.add_argument("--video-counts", type=int, nargs="*", default=(1, 3))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, processor = build(configuration(options.size))
    model.to(getattr(torch, options.dtype))
    frames = pictures(options.frames, *_PICTURE[options.size])
    exact = options.exact_frames or len(frames)
    contests = images(model, processor, frames[0], options.image_counts)
    contests += videos(model, processor, frames, options.video_counts, exact, options.official_frames or exact)
    for turn in range(options.repeats):
        for contest in contests:
            if not turn and options.size == "nano":  # large ones are not worth it
                contest.turn(timed=False)
            if contest.spent < options.limit:
                contest.turn()
            if options.json:
                keep(options, contests)
        print(f"turn {turn + 1} of {options.repeats}", flush=True)
    if not options.json:
        keep(options, contests)


def keep(options: argparse.Namespace, contests: Sequence[Contest]) -> None:
    """Writes what is known so far; rows of other cases that the file has stay."""
    rows = [row for contest in contests for row in contest.rows()]
    mine = {case_of(row) for row in rows}
    file = {"size": options.size, "dtype": options.dtype}
    old = json.loads(options.json.read_text()) if options.json and options.json.is_file() else {}
    if all(old.get(name) == value for name, value in file.items()):
        rows += [row for row in old["rows"] if case_of(row) not in mine]
    save(options.json, {**file, "rows": sorted(rows, key=case_of)})


def case_of(row: Mapping[str, Any]) -> tuple[str, int, int]:
    """What tells rows apart, and their order."""
    return row["case"], row["instructions"], row["llm_stride"] or 0


if __name__ == "__main__":
    main()
