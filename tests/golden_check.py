"""Compares our model with a folder of golden tensors recorded from the official code.

    python tests/golden_check.py DIR

``DIR`` holds ``config.json``, ``hf_config.json``, ``weights.safetensors`` (official names), ``inputs.npz`` and
``outputs_<case>.npz``; or, for the Mask2Former part alone, ``outputs_m2f.npz`` beside its weight files. The
weights go through the converter. Printed are the largest absolute and relative deviation of every recorded
stage, loss and gradient. The exit code is 1 where one is above its limit, in fp32: 1e-4 on features and masks,
2e-4 on logits, 1e-3 relative on losses and gradients.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from instructseg.convert.mask2former import load_mask2former
from instructseg.convert.official import load_official
from instructseg.model import InstructSeg, preset
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role
from tests import golden_post, golden_stages, golden_train
from tests.golden_stages import Pair
from tests.official_rows import expand_official

FEATURES, LOGITS, RELATIVE = 1e-4, 2e-4, 1e-3
NOISE = 1e-5
"""Gradients that are zero but for rounding (biases of attention keys) are compared with the largest one."""


@dataclass
class Report:
    """Deviations, printed as they come."""

    failed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    compared: int = 0

    def add(self, name: str, found: Pair | str | None, limit: float, scale: float | None = None) -> None:
        """One comparison; with ``scale`` the limit is relative to the largest value, at least ``scale``."""
        if isinstance(found, str):
            self.skipped[name] = found
            print(f"{name:58s} not computed ({found})")
            return
        if found is None:
            self._line(name, "is not known to this program", False)
            return
        ours, truth = (values.detach().double() for values in found)
        if ours.shape != truth.shape:
            self._line(name, f"shapes differ: {list(ours.shape)} and {list(truth.shape)}", False)
            return
        deviation = float((ours - truth).abs().max()) if ours.numel() else 0.0
        largest = float(truth.abs().max()) if truth.numel() else 0.0
        relative = deviation / largest if largest else deviation
        measured = deviation if scale is None else deviation / (max(largest, scale) or 1.0)
        ok = math.isfinite(measured) and measured <= limit
        self._line(name, f"abs {deviation:.2e}  rel {relative:.2e}", ok)

    def _line(self, name: str, text: str, ok: bool) -> None:
        self.compared += 1
        print(f"{name:58s} {text}{'' if ok else '  <-- FAILED'}")
        if not ok:
            self.failed.append(name)

    def close(self) -> int:
        """Prints the summary and returns the exit code."""
        print(f"\n{self.compared} compared, {len(self.skipped)} not computed, {len(self.failed)} failed")
        for name in self.failed[:20]:
            print(f"  failed: {name}")
        return 1 if self.failed or not self.compared else 0


@dataclass(frozen=True)
class Golden:
    """A folder of golden tensors with the model that was loaded from it."""

    folder: Path
    config: dict[str, Any]
    inputs: dict[str, np.ndarray]
    model: InstructSeg


def load_golden(folder: Path) -> Golden:
    """Loads the weights of a folder through the converter."""
    config = json.loads((folder / "config.json").read_text())
    model = load_official(
        folder / "weights.safetensors",
        dtype=torch.float32,
        config=json.loads((folder / "hf_config.json").read_text()),
        decoder_heads=config["mask_cfg"].get("MODEL.MASK_FORMER.NHEADS", 8),
    )
    return Golden(folder, config, dict(np.load(folder / "inputs.npz")), model.eval())


def inputs_of(golden: Golden, case: str, references: bool = True) -> ModelInputs:
    """The recorded inputs of a case; the key frame alone without ``references``."""
    arrays, config = golden.inputs, golden.model.config
    clip = torch.from_numpy(arrays[f"{case}.images_clip"])
    clip = clip[:, None] if clip.ndim == 4 else clip
    clip = clip if references else clip[:, :1]
    seg = torch.from_numpy(arrays[f"{case}.images"]) if f"{case}.images" in arrays else None
    count = clip.shape[1] - 1
    temporal = max(count, 1) * config.ovp_queries
    lengths = {Role.IMAGE: config.num_image_tokens, Role.TEMPORAL: temporal, Role.MASK: config.num_queries}
    rows = []
    for row, real in enumerate(arrays[f"{case}.attention_mask"]):
        ids, labels = (arrays[f"{case}.{name}"][row, : real.sum()].tolist() for name in ("input_ids", "labels"))
        refer = arrays.get(f"{case}.token_refer_id.b{row}", np.zeros(0, int)).tolist()
        rows.append(expand_official(ids, labels, refer, lengths))
    longest = max(map(len, rows))

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([getattr(row, name) + [value] * (longest - len(row)) for row in rows])

    return ModelInputs(
        input_ids=padded("input_ids", 0),
        roles=padded("roles", Role.PAD),
        clip_pixels=clip,
        num_references=torch.full((len(rows),), count),
        seg_pixels=seg[:, 0] if seg is not None and seg.ndim == 5 else seg,
        labels=padded("labels", IGNORE_LABEL),
    )


def check_case(golden: Golden, name: str, report: Report) -> None:
    """Runs one recorded case and compares all of it."""
    match = re.fullmatch(r"(image|video)(_noref)?_eval|(train_(?:reason|rvos))_(grid|seeded)|(mmconv)", name)
    if match is None:
        report.add(name, None, 0)
        return
    case = match.group(1) or match.group(3) or match.group(5)
    recorded = dict(np.load(golden.folder / f"outputs_{name}.npz"))
    numbers = [key.partition("#")[2] for key in recorded if key.startswith("siglip.selected")]
    calls = 1 + max((int(number or 0) for number in numbers), default=0)
    inputs = inputs_of(golden, case, references=match.group(2) is None)
    training = match.group(3) is not None
    golden.model.zero_grad()
    with torch.set_grad_enabled(training):
        run = golden_stages.watched_forward(golden.model, inputs, calls)
    for key, truth in recorded.items():
        if not re.match(r"(post|final|rand|match|match_cost|point_coords|loss|loss_raw|grad|targets)[._]", key):
            report.add(f"{name}/{key}", golden_stages.compare(run, key, truth), _limit(key))
    if training:
        grid = golden.inputs["train.grid_points_xy"] if match.group(4) == "grid" else None
        _check_training(golden, name, case, grid, run, recorded, report)
    elif "final.scores" in recorded:
        geometry = golden_post.geometry_of(golden.inputs[f"{case}.padding_mask"], golden.config["orig_hw"])
        for key, found in golden_post.masks(recorded, run.output, inputs, geometry):
            report.add(f"{name}/{key}", found, _limit(key))
    else:
        for key, pair in golden_train.text_losses(recorded, run.output, inputs):
            report.add(f"{name}/{key}", pair, RELATIVE, 0.0)


def _limit(key: str) -> float:
    if key.startswith(("assembled.attention", "assembled.labels", "assembled.seg_query", "assembled.refer")):
        return 0.0
    return LOGITS if "logits" in key else FEATURES


def _check_training(
    golden: Golden, name: str, case: str, grid: np.ndarray | None, run: golden_stages.Run,
    recorded: Mapping[str, np.ndarray], report: Report,
) -> None:  # fmt: skip
    targets = golden_train.targets_of(golden.inputs, case, run.rows)
    sampler = golden_train.RecordedPoints(recorded, grid, run.rows)
    criterion = golden_train.criterion_of(golden.config, sampler)
    labels = run.inputs.labels if case == "train_reason" else None  # videos teach no text, as released
    found = criterion(run.output, targets, labels)
    for key, pair in golden_train.losses(recorded, found):
        report.add(f"{name}/{key}", pair, RELATIVE, 0.0)
    for key, pair in golden_train.matches(recorded, run.output, targets, sampler, criterion):
        report.add(f"{name}/{key}", pair, FEATURES if "cost" in key else 0.0)
    found.total.backward()
    gradients = golden_train.official_gradients(golden.model)
    norms = recorded["grad_norms"]
    floor = NOISE * float(norms.max())
    for key, compared in golden_train.gradients(recorded, golden.config["grad_names"][name], gradients):
        report.add(f"{name}/{key}", compared, RELATIVE, floor)


# ---------------------------------------------------------------------------------------- Mask2Former alone


def check_mask2former(folder: Path, report: Report) -> None:
    """Each weight file as Mask2Former itself, and the first as the official code loads it."""
    image = torch.from_numpy(np.load(folder / "outputs_m2f.npz")["input.normalised_image"])
    heads = json.loads((folder / "config.json").read_text())["options"].get("MODEL.MASK_FORMER.NHEADS", 8)
    files = sorted(file for file in folder.iterdir() if file.suffix in (".pkl", ".safetensors", ".pth"))
    runs = [(file, "plain", "outputs_m2f.npz") for file in files]
    loaded = "outputs_m2f_as_loaded_by_instructseg.npz"
    if (folder / loaded).is_file():
        runs.append((files[0], "released", loaded))
    for file, lateral, outputs in runs:
        stages = _mask2former_stages(file, lateral, heads, image)
        for key, truth in np.load(folder / outputs).items():
            pair = (stages[key], torch.from_numpy(truth)) if key in stages else None
            unused = "its class head is replaced by the text classifier" if "pred_logits" in key else pair
            if not key.startswith("input."):
                report.add(f"{file.name}[{lateral}]/{key}", unused, FEATURES)


@torch.no_grad()
def _mask2former_stages(file: Path, lateral: str, heads: int, image: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = load_mask2former(file, lateral, learned_queries=True)
    around = {"decoder_heads": heads, "vmtf_mode": "off", "use_ovp": False}
    model = InstructSeg(preset("nano", **{**weights.fields, **around})).eval()
    model.load_state_dict(weights.state, strict=False)
    for parameter in model.mask_decoder.query_proj.parameters():
        parameter.zero_()  # no language model here: the learned content alone
    maps = model.backbone(image)
    levels, mask_features = model.pixel_decoder(maps)
    config = model.config
    tokens = torch.zeros(1, config.num_queries, config.text_config.hidden_size)
    predictions = model.mask_decoder(
        tokens, torch.zeros(1, config.decoder_dim), levels, mask_features, aux=True
    )
    stages = {f"swin.{level}": value for level, value in maps.items()}
    stages["pixel_decoder.mask_features"] = mask_features
    stages |= {f"pixel_decoder.multi_scale{i}": level for i, level in enumerate(levels)}
    return stages | {f"predictor.pred_masks.{i}": masks for i, (masks, _) in enumerate(predictions)}


def check(folder: Path) -> int:
    """Compares a golden folder; returns the exit code."""
    report = Report()
    if (folder / "outputs_m2f.npz").is_file():
        check_mask2former(folder, report)
        return report.close()
    golden = load_golden(folder)
    for file in sorted(folder.glob("outputs_*.npz")):
        check_case(golden, file.stem.removeprefix("outputs_"), report)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    return check(parser.parse_args().folder)


if __name__ == "__main__":
    sys.exit(main())
