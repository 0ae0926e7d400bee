"""What a stride of the language model and a shorter delay cost in accuracy, and what they save.

    python benchmarks/stride.py [--model FOLDER] [--clips 40] [--frames 24] [--travel 0.3 0.7] [--json]

Clips are drawn from a seed of their own, which no training uses, with two instructions
each that name what can be seen. J is the mean IoU over the frames of an instruction, then over the
instructions, as DAVIS has it. Every setting sees the same clips. Runs of the language model are counted per
instruction and frame, SigLIP and Swin per frame; times are of the whole prediction, decoding of files left
out, and tell little where other programs run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from instructseg.config import load_config
from instructseg.data.expressions import draw_expressions, meanings
from instructseg.data.scenes import SceneConfig, draw_scene
from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference import Stride, VideoPredictor

SEED = 20_241_218
SETTINGS: dict[str, dict[str, object]] = {
    "exact (stride 1, delay 2)": {},
    "delay 1": {"delay": 1},
    "delay 0": {"delay": 0},
    "stride 2": {"llm_stride": 2},
    "stride 4": {"llm_stride": 4},
    "stride 8": {"llm_stride": 8},
    "stride 2, previous key": {"llm_stride": 2, "delay": 2},
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


def draw_clip(index: int, config: SceneConfig, texts: int) -> Clip:
    """The clip of that number; always the same one."""
    rng = np.random.default_rng([SEED, index])
    while True:
        scene = draw_scene(rng, config)
        choices = meanings(scene, config.frames // 2, ("attribute",))
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


def measure(
    predictor: VideoPredictor, clips: list[Clip], name: str, options: dict[str, object]
) -> dict[str, float | str]:
    """One setting on all clips."""
    scores: list[float] = []
    frames = rows = 0
    seconds = 0.0
    with counted(predictor) as counts:
        for clip in clips:
            start = time.perf_counter()
            results = list(predictor.predict(clip.frames, clip.texts, **options))
            seconds += time.perf_counter() - start
            frames += len(results)
            rows += len(results) * len(clip.texts)
            for i, truth in enumerate(clip.masks):
                found = np.stack([result.predictions[i].mask for result in results])
                scores.append(float(region_and_boundary(found, truth)[0].mean()))
    return {
        "setting": name,
        "j": round(float(np.mean(scores)), 4),
        "llm_per_row": round(counts["llm"] / rows, 3),
        "siglip_per_frame": round(counts["siglip"] / frames, 3),
        "swin_per_frame": round(counts["swin"] / frames, 3),
        "frames_per_second": round(frames / seconds, 1),
    }


def main() -> None:
    """Prints a line per setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a folder or a hub repository; default: the bundled model")
    parser.add_argument("--device", help="default: the best there is")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    parser.add_argument("--texts", type=int, default=2, help="instructions on each clip")
    parser.add_argument(
        "--travel",
        type=float,
        nargs=2,
        default=(0.3, 0.7),
        help="of an object over the clip, as a share of the shorter side",
    )
    parser.add_argument("--config", default="configs/nano.yaml", help="whose scenes are drawn")
    parser.add_argument(
        "--auto",
        type=float,
        nargs=3,
        metavar=("EVERY", "MARGIN", "DISTANCE"),
        help="one adaptive stride alone",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scene = {"travel": tuple(options.travel), "frames": options.frames}
    config = SceneConfig(**{**load_config(options.config).data.scene, **scene})
    clips = [draw_clip(index, config, options.texts) for index in range(options.clips)]
    predictor = VideoPredictor.from_pretrained(options.model, options.device)
    settings = SETTINGS
    if options.auto:
        every, margin, distance = options.auto
        settings = {f"auto {options.auto}": {"llm_stride": Stride(int(every), True, margin, distance)}}
    rows = []
    for name, asked in settings.items():
        rows.append(measure(predictor, clips, name, asked))
        if not options.json:
            row = rows[-1]
            print(
                f"{row['setting']:26} J {row['j']:.4f}  LLM {row['llm_per_row']:.3f}  SigLIP "
                f"{row['siglip_per_frame']:.3f}  Swin {row['swin_per_frame']:.3f}  "
                f"{row['frames_per_second']:6.1f} frames/s",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
