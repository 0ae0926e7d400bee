"""What fewer visual tokens in the language model cost in accuracy, by the way in which they are chosen.

    OMP_NUM_THREADS=1 python -m perf.tokens --json perf/results/tokens_nano.json
    OMP_NUM_THREADS=1 python -m perf.tokens --model mini --photos FOLDER --json perf/results/tokens_mini.json

Drawn scenes are held-out ones of the generator, as :mod:`perf.quantized` asks about; photographs are those that
the training of ``mini`` never saw, with their references (:mod:`recipes.mini.evaluate`). Every setting is asked
the same with the same features of the frames, so differences are paired; their interval is a bootstrap over
scenes. There is always a mask (a threshold of 0). cIoU is of images, and of the key frame of a clip; J&F of all
five frames.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.data.frames import neighbour_references
from instructseg.evaluation.iou import intersection_union
from instructseg.evaluation.jf import region_and_boundary
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction
from instructseg.inference.selection import AnswerRule
from instructseg.model.tokens import ALL_TOKENS, TokenChoice
from instructseg.pretrained import load_pretrained
from instructseg.structures import Task
from perf.quantized import ciou, compared
from perf.workload import save, weights_digest
from recipes.mini.evaluate import Case, cases_of
from recipes.mini.photographs import read_photographs
from recipes.mini.train import KEPT_OUT
from recipes.mini.views import whole_view
from recipes.nano.config import load_config
from recipes.nano.evaluation.drawn import Outcome
from recipes.nano.evaluation.held_out import synthetic_dataset
from recipes.nano.synthetic import DrawnScene

RATES = (0.5, 0.35, 0.2)
WAYS: dict[str, dict[str, Any]] = {
    "coverage": {},
    "uniform": {"method": "uniform", "merge": False},
    "random": {"method": "random", "merge": False},
}
"""What is compared at every rate."""
PARTS: dict[str, dict[str, Any]] = {
    "coverage, not merged": {"merge": False},
    "uniform, merged": {"method": "uniform"},
    "coverage by instruction": {"method": "instruction"},
}
"""What the parts of it bring, at the lowest rate."""
PERCEIVER_RATES = (0.5, 0.2)
ALL = "all"
SETTINGS: dict[str, TokenChoice] = {
    ALL: ALL_TOKENS,
    **{f"{name} {rate}": TokenChoice(rate, **way) for rate in RATES for name, way in WAYS.items()},
    **{f"{name} {RATES[-1]}": TokenChoice(RATES[-1], **way) for name, way in PARTS.items()},
    **{
        f"perceiver, {name} {rate}": TokenChoice(perceiver=rate, **WAYS[name])
        for rate in PERCEIVER_RATES
        for name in ("coverage", "uniform")
    },
    f"both {RATES[-1]}": TokenChoice(RATES[-1], RATES[-1]),
}
IMAGE_KINDS = ("attribute", "relation", "superlative", "ordinal")
CLIP_KINDS = ("motion",)
Found = dict[str, dict[str, list[Outcome]]]
"""Outcomes by what was asked and by setting."""


def masks(encoder: Encoder, pairs: Sequence[Pair], rule: AnswerRule, choice: TokenChoice) -> list[np.ndarray]:
    """What the instructions of pairs on one key frame mean, ``bool[H, W]`` each."""
    encoder.keep_tokens = choice
    states = encoder.reason(pairs)
    rows = [(pair.instruction, state) for pair, state in zip(pairs, states, strict=True)]
    return [some[0].mask for some in encoder.decode(pairs[0].frame, rows, rule)]


def outcome(name: str, kind: str, mask: np.ndarray, truth: np.ndarray, score: float | None = None) -> Outcome:
    """Of one mask; the score is its IoU, or J&F of the whole clip."""
    shared, union = intersection_union(mask, truth)
    iou = shared / union if union else 1.0
    return Outcome(name, kind, "", True, iou if score is None else score, intersection=shared, union=union)


def on_image(encoder: Encoder, drawn: DrawnScene) -> Iterator[tuple[str, Outcome]]:
    """All settings on a drawn image."""
    scene, rule = drawn.scene, AnswerRule(0.0, all_instances=False)
    frame = CachedFrame(scene.frames[drawn.key])
    rows = [
        Instruction(i, said.text, said.task, encoder.processor, 0) for i, said in enumerate(drawn.expressions)
    ]
    for setting, choice in SETTINGS.items():
        found = masks(encoder, [Pair(row, frame) for row in rows], rule, choice)
        for said, mask in zip(drawn.expressions, found, strict=True):
            truth = np.isin(scene.ids[drawn.key], np.array(said.targets) + 1)
            yield setting, outcome(drawn.name, said.kind, mask, truth)


def on_clip(encoder: Encoder, drawn: DrawnScene) -> Iterator[tuple[str, Outcome]]:
    """All settings on a drawn clip, each frame the key frame in turn; the score is J&F."""
    scene, rule, count = drawn.scene, AnswerRule(0.0, all_instances=False), len(drawn.references)
    frames = [CachedFrame(frame) for frame in scene.frames]
    rows = [
        Instruction(i, said.text, said.task, encoder.processor, count)
        for i, said in enumerate(drawn.expressions)
    ]
    for setting, choice in SETTINGS.items():
        found = []
        for t, key in enumerate(frames):
            seen = [frames[u] for u in neighbour_references(t, len(frames), count)]
            found.append(masks(encoder, [Pair(row, key, seen) for row in rows], rule, choice))
        for said, mine in zip(drawn.expressions, np.stack(found, 1), strict=True):
            truth = np.isin(scene.ids, np.array(said.targets) + 1)
            score = float(np.mean(region_and_boundary(mine, truth)))
            yield setting, outcome(drawn.name, said.kind, mine[drawn.key], truth[drawn.key], score)


def drawn_scenes(encoder: Encoder, config: str, instructions: int) -> Found:
    """So many instructions of each kind on drawn images and clips."""
    data, found = load_config(config).data, Found()
    for what, kinds in (("image", IMAGE_KINDS), ("clip", CLIP_KINDS)):
        for kind in kinds:
            name = f"{what}, {kind}"
            cell = found[name] = {setting: [] for setting in SETTINGS}
            scenes = synthetic_dataset(data, "test", what == "clip", instructions, {kind: 1.0})
            for index in range(len(scenes)):
                if len(cell[ALL]) >= instructions:
                    break
                on = on_clip if what == "clip" else on_image
                for setting, one in on(encoder, scenes.scene(index)):
                    cell[setting].append(one)
            print(name, {setting: round(ciou(rows), 4) for setting, rows in cell.items()}, flush=True)
    return found


def photographs(encoder: Encoder, folder: Path, every: int) -> Found:
    """References and categories on photographs that were kept from training."""
    found: Found = defaultdict(lambda: {setting: [] for setting in SETTINGS})
    images = read_photographs(folder, "val", KEPT_OUT)
    for photograph in list(images)[::every]:
        view = whole_view(photograph, 200)
        frame, cases = CachedFrame(view.frame), list(cases_of(images, photograph, view))
        for union in (True, False):
            asked = [case for case in cases if (case.kind == "category") == union and case.wanted]
            rows = [Instruction(i, case.text, Task.RES, encoder.processor, 0) for i, case in enumerate(asked)]
            rule = AnswerRule(0.0, union=union)
            for setting, choice in SETTINGS.items() if rows else ():
                answers = masks(encoder, [Pair(row, frame) for row in rows], rule, choice)
                for case, mask in zip(asked, answers, strict=True):
                    truth = np.any(view.masks[list(case.wanted)], axis=0)
                    found[_row(case)][setting].append(outcome(case.photograph, case.kind, mask, truth))
            frame.perceived.clear()  # the same numbers again
    return found


def _row(case: Case) -> str:
    """The row of a case: by kind where there are many of it."""
    return {"category": "photograph, category", "main": "photograph, main object"}.get(
        case.kind, "photograph, reference"
    )


def table_rows(found: Found) -> list[dict[str, Any]]:
    """A row for each thing that was asked and each setting."""
    return [
        {
            "asked": asked,
            "setting": setting,
            "rate": SETTINGS[setting].rate,
            "perceiver": SETTINGS[setting].perceiver,
            **compared(rows, cell[ALL]),
        }
        for asked, cell in found.items()
        for setting, rows in cell.items()
    ]


def main() -> None:
    """Measures every setting."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a folder or a hub repository")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--instructions", type=int, default=300, help="of each kind, on drawn scenes")
    parser.add_argument("--config", default="configs/nano/test.yaml", help="whose scenes are drawn")
    parser.add_argument("--photos", type=Path, help="a folder of photographs, in place of drawn scenes")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th photograph")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = Encoder(*load_pretrained(options.model, options.device))
    encoder.model.eval()
    if options.photos is None:
        found = drawn_scenes(encoder, options.config, options.instructions)
    else:
        found = photographs(encoder, options.photos, options.every)
    save(options.json, {"weights": weights_digest(options.model), "rows": table_rows(found)})


if __name__ == "__main__":
    main()
