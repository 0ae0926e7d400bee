"""What it brings to space the references of a clip with many frames per second.

    OMP_NUM_THREADS=1 python -m perf.spacing --json perf/results/spacing.json

Things that look the same move by 0.6 to 1.6 % of the frame's shorter side from one frame to the next, as in a
video of 25 or 30 frames per second, and are told apart by their motion. Clips, figures and intervals are those
of :mod:`perf.stride`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from instructseg.inference import VideoPredictor
from perf.stride import compared, draw_clip, measure
from perf.workload import save, weights_digest
from recipes.nano.config import load_config
from recipes.nano.scenes.scenes import SceneConfig

SPACINGS = (1, 2, 3, 4, 5)


def main() -> None:
    """Measures every spacing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a folder or a hub repository")
    parser.add_argument("--device", help="default: the best there is")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=25, help="of each clip")
    parser.add_argument("--config", default="configs/nano/test.yaml", help="whose scenes are drawn")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = options.frames - 1
    drawn = {"travel": (0.006 * steps, 0.016 * steps), "frames": options.frames, "purpose": "twins"}
    config = SceneConfig(**{**load_config(options.config).data.scene, **drawn})
    clips = [draw_clip(index, config, 1, ("motion",)) for index in range(options.clips)]
    predictor = VideoPredictor.from_pretrained(options.model, options.device)
    released = measure(predictor, clips, {"spacing": 1})
    rows = []
    for spacing in SPACINGS:
        found = released if spacing == 1 else measure(predictor, clips, {"spacing": spacing})
        rows.append(compared(f"spacing {spacing}", found, released))
        print(rows[-1], flush=True)
    count = {"clips": len(clips), "frames": options.frames, "instructions": len(released.clips)}
    save(options.json, {"weights": weights_digest(options.model), **count, "rows": rows})


if __name__ == "__main__":
    main()
