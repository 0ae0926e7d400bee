"""Accuracy against time by stride and tokens of the language model: what ``--speed`` picks from.

    OMP_NUM_THREADS=1 python -m perf.frontier --json perf/results/frontier.json

J&F is measured with trained weights on drawn clips, as :mod:`perf.stride` does; ``--model FOLDER`` measures
other weights than nano's. The seconds are those of a frame with one instruction at the released size, and the
ratio is to the official procedure, both by the sum of stages in ``perf/results/stages.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from instructseg.files import read_json
from instructseg.inference import VideoPredictor
from perf.stages import FEW, composed
from perf.stride import compared, draw_clip, measure
from perf.workload import save, weights_digest
from recipes.nano.config import load_config
from recipes.nano.scenes.scenes import SceneConfig

STRIDES = (1, 4, 8)
TOKENS = ("", "half", "few")
"""As the sum of stages names them."""
STAGES = Path(__file__).parent / "results" / "stages.json"


def seconds_of(stages: dict[str, Any], stride: int, few: str) -> tuple[float, float]:
    """Seconds of a frame at the released size, and the ratio to the official procedure."""
    full = {name: row["full_s"] for name, row in stages["stages"].items()}
    rows = [row for row in composed(full, (stride,)) if row["case"] == "video" and row["instructions"] == 1]
    (row,) = (row for row in rows if row["tokens"] == few)
    return row["ours_s"], row["ratio"]


def main() -> None:
    """Measures every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a folder or a hub repository")
    parser.add_argument("--device", help="default: the best there is")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--frames", type=int, default=16, help="of each clip")
    parser.add_argument("--texts", type=int, default=3, help="instructions on each clip")
    parser.add_argument("--config", default="configs/nano/test.yaml", help="whose scenes are drawn")
    parser.add_argument("--stages", type=Path, default=STAGES, help="a result of perf.stages")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    scene = {"travel": (0.3, 0.7), "frames": options.frames}
    config = SceneConfig(**{**load_config(options.config).data.scene, **scene})
    clips = [draw_clip(i, config, options.texts, ("attribute", "motion")) for i in range(options.clips)]
    predictor, stages = VideoPredictor.from_pretrained(options.model, options.device), read_json(options.stages)
    exact, rows = None, []
    for stride in STRIDES:
        for few in TOKENS:
            keep = FEW[few].rate if few else 1.0
            found = measure(predictor, clips, {"llm_stride": stride, "keep_tokens": keep})
            exact = exact or found
            name = f"stride {stride}, {'all' if keep == 1 else f'{keep:.0%} of the image'} tokens"
            spent, ratio = seconds_of(stages, stride, few)
            gains = {"full_s": spent, "ratio": ratio, "llm_stride": stride, "keep_tokens": keep}
            rows.append({**compared(name, found, exact), **gains})
            print(rows[-1], flush=True)
    drawn = {"clips": len(clips), "frames": options.frames, "instructions": options.clips * options.texts}
    save(options.json, {"weights": weights_digest(options.model), **drawn, "rows": rows})


if __name__ == "__main__":
    main()
