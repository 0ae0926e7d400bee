"""What a language model of fewer bits costs in accuracy: cIoU on drawn pictures and clips, against float32.

    OMP_NUM_THREADS=1 python -m perf.quantized --json perf/results/quantized.json

``--model FOLDER`` measures other weights than nano's. Scenes are held-out ones of the generator; of a
clip the key frame is measured. Every setting is asked the same, so differences are paired; their interval is a
bootstrap over scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.pretrained import load_pretrained
from perf.workload import save, weights_digest
from recipes.nano.config import load_config
from recipes.nano.evaluation.bootstrap import interval
from recipes.nano.evaluation.drawn import Outcome, measure
from recipes.nano.evaluation.held_out import synthetic_dataset

FULL = "float32"
SETTINGS: dict[str, tuple[str, str | None]] = {
    FULL: ("float32", None),
    "bfloat16": ("bfloat16", None),
    "float32, int8": ("float32", "int8"),
    "float32, int4": ("float32", "int4"),
    "bfloat16, int8": ("bfloat16", "int8"),
    "bfloat16, int4": ("bfloat16", "int4"),
}
"""Type of the values, and quantization of the language model, by name."""
KINDS = {
    "pictures": ("attribute", "relation", "superlative", "ordinal"),
    "clips": ("attribute", "motion"),
}
"""What is asked, evenly; all have a mask."""
_MOVED = 0.01


def ciou(outcomes: Sequence[Outcome]) -> float:
    """Cumulative IoU, 0..1."""
    return sum(one.intersection for one in outcomes) / max(1, sum(one.union for one in outcomes))


def compared(found: Sequence[Outcome], full: Sequence[Outcome]) -> dict[str, Any]:
    """cIoU and gIoU of a setting, how far cIoU is from that of the full model, and the interval of that.

    Args:
        found: outcomes of the setting.
        full: of the full model, on the same instructions.

    Returns:
        ``ciou``, ``giou`` 0..1; ``difference``, ``low``, ``high`` of cIoU; ``moved``, the part of the
        instructions whose IoU differs by more than 0.01.
    """
    pairs = list(zip(found, full, strict=True))
    mine, theirs = ciou(found), ciou(full)
    # the first-order change of a difference of ratios, so that scenes can be drawn again as for a mean
    unions, before = sum(one.union for one in found), sum(one.union for one in full)
    change = [
        len(pairs) * ((a.intersection - mine * a.union) / unions - (b.intersection - theirs * b.union) / before)
        for a, b in pairs
    ]
    low, high = interval(change, [1.0] * len(pairs), [one.scene for one in found])
    return {
        "ciou": mine,
        "giou": float(np.mean([one.score for one in found])),
        "difference": mine - theirs,
        "low": mine - theirs + low,
        "high": mine - theirs + high,
        "moved": float(np.mean([abs(a.score - b.score) > _MOVED for a, b in pairs])),
        "instructions": len(pairs),
    }


def main() -> None:
    """Measures every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a folder or a hub repository")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--instructions", type=int, default=600, help="on pictures, and on clips")
    parser.add_argument("--config", default="configs/nano/test.yaml", help="whose scenes are drawn")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_config(options.config).data
    full: dict[str, list[Outcome]] = {}
    rows = []
    for name, (dtype, quantize) in SETTINGS.items():
        model, processor = load_pretrained(options.model, options.device, dtype, quantize)
        row: dict[str, Any] = {"setting": name}
        for what, kinds in KINDS.items():
            scenes = synthetic_dataset(
                data, "test", what == "clips", options.instructions, dict.fromkeys(kinds, 1.0)
            )
            found = list(measure(model, processor, scenes, options.instructions))
            row[what] = compared(found, full.setdefault(what, found))
        rows.append(row)
        print(row, flush=True)
    save(options.json, {"weights": weights_digest(options.model), "rows": rows})


if __name__ == "__main__":
    main()
