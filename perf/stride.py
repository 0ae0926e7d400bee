"""What a stride of the language model and a shorter delay cost in accuracy, and what they save.

    OMP_NUM_THREADS=1 python -m perf.stride --json perf/results/stride.json

``--model FOLDER`` measures other weights than nano's. Clips are drawn from a seed of their own, which
no training uses, with two instructions each that name what can be seen. J and F are means over the frames of an
instruction, then over the instructions, as DAVIS has them. Every setting sees the same clips, so differences
are taken per instruction; their interval is a bootstrap over clips. Runs of the language model are counted per
instruction and frame, SigLIP and Swin per frame; times are processor seconds of the whole prediction.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference import Stride, VideoPredictor
from perf.workload import save, weights_digest
from recipes.nano.config import load_config
from recipes.nano.evaluation.bootstrap import interval
from recipes.nano.language.expressions import draw_expressions, meanings
from recipes.nano.scenes.scenes import SceneConfig, draw_scene

SEED = 20_241_218
EXACT = "exact (stride 1, delay 2)"
SETTINGS: dict[str, dict[str, object]] = {
    EXACT: {},
    "delay 1": {"delay": 1},
    "delay 0": {"delay": 0},
    "stride 2": {"llm_stride": 2},
    "stride 4": {"llm_stride": 4},
    "stride 8": {"llm_stride": 8},
    "stride 4, previous key": {"llm_stride": 4, "delay": 2},
    "stride 8, previous key": {"llm_stride": 8, "delay": 2},
    "stride 8, delay 0": {"llm_stride": 8, "delay": 0},
    "auto": {"llm_stride": "auto"},
}


@dataclass(frozen=True, eq=False)
class Clip:
    """A drawn clip.

    Attributes:
        frames: ``uint8[T, H, W, 3]``.
        texts: N instructions.
        masks: ``bool[N, T, H, W]``, what they mean.
    """

    frames: np.ndarray
    texts: list[str]
    masks: np.ndarray


def draw_clip(index: int, config: SceneConfig, texts: int, kinds: Sequence[str] = ("attribute",)) -> Clip:
    """The clip of that number; always the same one."""
    rng = np.random.default_rng([SEED, index])
    while True:
        scene = draw_scene(rng, config)
        choices = meanings(scene, config.frames // 2, kinds)
        if choices:
            break
    drawn = draw_expressions(rng, scene, choices, texts)
    masks = [np.isin(scene.ids, [i + 1 for i in expression.targets]) for expression in drawn]
    return Clip(scene.frames, [expression.text for expression in drawn], np.stack(masks))


@contextmanager
def counted(predictor: VideoPredictor) -> Iterator[Counter[str]]:
    """Counts what the model is asked: rows of the language model, frames of SigLIP and of Swin."""
    model, counts = predictor.model, Counter[str]()
    reason = model.reason

    def count(name: str) -> Callable[..., None]:
        return lambda module, inputs: counts.update({name: len(inputs[0])})

    def counting(embeds: torch.Tensor, *more: torch.Tensor) -> object:
        counts["llm"] += len(embeds)
        return reason(embeds, *more)

    parts = {"siglip": model.vision, "swin": model.backbone}
    hooks = [part.register_forward_pre_hook(count(name)) for name, part in parts.items()]
    model.reason = counting
    try:
        yield counts
    finally:
        del model.reason  # the class's own is back
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class Outcome:
    """One setting on all clips.

    Attributes:
        scores: ``float[N, 2]``, J and F of each instruction.
        clips: ``N`` numbers of the clips that they are on.
        row: what was counted.
    """

    scores: np.ndarray
    clips: list[int]
    row: dict[str, float]


def measure(predictor: VideoPredictor, clips: Sequence[Clip], options: dict[str, object]) -> Outcome:
    """One setting on all clips."""
    scores: list[tuple[float, float]] = []
    owners: list[int] = []
    frames = rows = 0
    spent = 0.0
    with counted(predictor) as counts:
        for number, clip in enumerate(clips):
            start = time.process_time()
            results = list(predictor.predict(clip.frames, clip.texts, threshold=0, **options))
            spent += time.process_time() - start
            frames += len(results)
            rows += len(results) * len(clip.texts)
            for i, truth in enumerate(clip.masks):
                found = np.stack([result.predictions[i].mask for result in results])
                region, boundary = region_and_boundary(found, truth)
                scores.append((float(region.mean()), float(boundary.mean())))
                owners.append(number)
    row = {
        "llm_per_row": counts["llm"] / rows,
        "siglip_per_frame": counts["siglip"] / frames,
        "swin_per_frame": counts["swin"] / frames,
        "s_per_frame": spent / frames,
    }
    return Outcome(np.array(scores), owners, row)


def compared(name: str, found: Outcome, exact: Outcome) -> dict[str, Any]:
    """A row: means of a setting, 0..1, and its mean difference to the exact one with the interval of that."""
    j, f = found.scores.mean(axis=0).tolist()
    difference = found.scores.mean(axis=1) - exact.scores.mean(axis=1)
    low, high = interval(difference.tolist(), [1.0] * len(difference), found.clips)
    gain = {"difference": float(difference.mean()), "low": low, "high": high}
    return {"setting": name, "j": j, "f": f, "jf": (j + f) / 2, **gain, **found.row}


def main() -> None:
    """Measures every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a folder or a hub repository")
    parser.add_argument("--device", help="default: the best there is")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    parser.add_argument("--texts", type=int, default=2, help="instructions on each clip")
    parser.add_argument("--kinds", nargs="+", default=("attribute",), help="of instructions")
    parser.add_argument(
        "--travel",
        type=float,
        nargs=2,
        default=(0.3, 0.7),
        help="of an object over the clip, as a share of the shorter side",
    )
    parser.add_argument("--config", default="configs/nano/test.yaml", help="whose scenes are drawn")
    parser.add_argument(
        "--auto",
        type=float,
        nargs=3,
        metavar=("EVERY", "MARGIN", "DISTANCE"),
        help="one adaptive stride alone, beside the exact setting",
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scene = {"travel": tuple(options.travel), "frames": options.frames}
    config = SceneConfig(**{**load_config(options.config).data.scene, **scene})
    clips = [draw_clip(index, config, options.texts, options.kinds) for index in range(options.clips)]
    predictor = VideoPredictor.from_pretrained(options.model, options.device)
    settings = SETTINGS
    if options.auto:
        every, margin, distance = options.auto
        adaptive = Stride(int(every), True, margin, distance)
        settings = {EXACT: {}, f"auto {every:.0f} {margin} {distance}": {"llm_stride": adaptive}}
    exact = measure(predictor, clips, settings[EXACT])
    rows = []
    for name, asked in settings.items():
        rows.append(compared(name, exact if name == EXACT else measure(predictor, clips, asked), exact))
        print(rows[-1], flush=True)
    drawn = {"clips": len(clips), "frames": options.frames, "instructions": len(exact.clips)}
    save(options.json, {"weights": weights_digest(options.model), **drawn, "rows": rows})


if __name__ == "__main__":
    main()
