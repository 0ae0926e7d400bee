"""What fewer visual tokens in the language model cost in accuracy, by the way in which they are chosen.

    OMP_NUM_THREADS=1 python -m perf.tokens --json perf/results/tokens_nano.json
    OMP_NUM_THREADS=1 python -m perf.tokens --model mini --photos FOLDER --json perf/results/tokens_mini.json

Drawn scenes are held-out ones of the generator, as :mod:`perf.quantized` asks about; photographs are those that
the training of ``mini`` never saw, with their references (:mod:`recipes.mini.evaluate`). Every setting is asked
the same with the same features of the frames, so differences are paired; their interval is a bootstrap over
scenes. There is always a mask (a threshold of 0). Of a clip of five frames the key frame is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.evaluation.iou import intersection_union
from instructseg.inference.encoder import CachedFrame, Encoder, Pair
from instructseg.inference.instructions import Instruction, States
from instructseg.inference.selection import AnswerRule
from instructseg.model.tokens import ALL_TOKENS, TokenChoice
from instructseg.pretrained import load_pretrained
from instructseg.structures import Task
from perf.quantized import ciou, compared
from perf.workload import save, weights_digest
from recipes.mini.evaluate import cases_of
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
    **{f"perceiver {rate}": TokenChoice(perceiver=rate) for rate in PERCEIVER_RATES},
    f"both {RATES[-1]}": TokenChoice(RATES[-1], RATES[-1]),
}
IMAGE_KINDS = ("relation", "superlative", "ordinal")
CLIP_KINDS = ("motion",)
Found = dict[str, dict[str, list[Outcome]]]
"""Outcomes by what was asked and by setting."""


def masks(encoder: Encoder, pairs: Sequence[Pair], rule: AnswerRule) -> dict[str, list[np.ndarray]]:
    """What the instructions of pairs mean on their key frames, ``bool[H, W]`` each, by setting."""
    states: dict[str, list[States]] = {}
    for setting, choice in SETTINGS.items():
        encoder.keep_tokens = choice
        states[setting] = encoder.reason(pairs)
    found = {setting: [np.empty(0, bool)] * len(pairs) for setting in SETTINGS}
    for frame in dict.fromkeys(pair.frame for pair in pairs):
        asked = [(s, i) for s in SETTINGS for i, pair in enumerate(pairs) if pair.frame is frame]
        answers = encoder.decode(frame, [(pairs[i].instruction, states[s][i]) for s, i in asked], rule)
        for (setting, place), some in zip(asked, answers, strict=True):
            found[setting][place] = np.any([one.mask for one in some], axis=0)
    return found


def outcome(name: str, kind: str, mask: np.ndarray, truth: np.ndarray) -> Outcome:
    """Of one mask; the score is its IoU."""
    shared, union = intersection_union(mask, truth)
    iou = shared / union if union else 1.0
    return Outcome(name, kind, "", True, iou, intersection=shared, union=union)


def on_scene(encoder: Encoder, drawn: DrawnScene) -> Iterator[tuple[str, Outcome]]:
    """All settings on the key frame of a drawn scene; of a clip, with its references."""
    scene, key, count = drawn.scene, drawn.key, len(drawn.references)
    frames = [CachedFrame(frame) for frame in scene.frames]
    seen = [frames[t] for t in drawn.references]
    rows = [
        Instruction(i, said.text, said.task, encoder.processor, count)
        for i, said in enumerate(drawn.expressions)
    ]
    pairs = [Pair(row, frames[key], seen) for row in rows]
    for setting, found in masks(encoder, pairs, AnswerRule(0.0, all_instances=False)).items():
        for said, mine in zip(drawn.expressions, found, strict=True):
            yield (
                setting,
                outcome(drawn.name, said.kind, mine, np.isin(scene.ids[key], np.array(said.targets) + 1)),
            )


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
                for setting, one in on_scene(encoder, scenes.scene(index)):
                    cell[setting].append(one)
            print(name, {setting: round(ciou(rows), 4) for setting, rows in cell.items()}, flush=True)
    return found


def photographs(encoder: Encoder, folder: Path, every: int) -> Found:
    """References to regions of photographs that were kept from training, on every n-th of them."""
    cell: dict[str, list[Outcome]] = {setting: [] for setting in SETTINGS}
    images = read_photographs(folder, "val", KEPT_OUT)
    for photograph in list(images)[::every]:
        view = whole_view(photograph, 200)
        cases = [one for one in cases_of(images, photograph, view) if one.kind != "category" and one.wanted]
        frame = CachedFrame(view.frame)
        rows = [Instruction(i, case.text, Task.RES, encoder.processor, 0) for i, case in enumerate(cases)]
        for setting, answers in masks(encoder, [Pair(row, frame) for row in rows], AnswerRule(0.0)).items():
            for case, mask in zip(cases, answers, strict=True):
                truth = np.any(view.masks[list(case.wanted)], axis=0)
                cell[setting].append(outcome(case.photograph, case.kind, mask, truth))
    return {"references": cell}


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
    encoder = Encoder(*load_pretrained(options.model, options.device), batch_size=64)
    encoder.model.eval()
    if options.photos is None:
        found = drawn_scenes(encoder, options.config, options.instructions)
    else:
        found = photographs(encoder, options.photos, options.every)
    save(options.json, {"weights": weights_digest(options.model), "rows": table_rows(found)})


if __name__ == "__main__":
    main()
