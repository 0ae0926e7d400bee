"""SegLosses, matches and gradients of a recorded training forward."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch

from instructseg.convert.keymap import official_name
from instructseg.criterion import CriterionConfig, SegCriterion, SegLosses
from instructseg.criterion.matcher import match, pairwise_bce, pairwise_dice
from instructseg.criterion.points import sample_points
from instructseg.criterion.targets import TargetBatch
from instructseg.structures import MaskTargets, ModelInputs, SegOutput
from tests.golden_stages import Pair

Recorded = Mapping[str, np.ndarray]


class RecordedPoints:
    """Hands out the recorded points: one grid for everything, or what the official code drew.

    The official code draws per layer, the last one first: one set per row for the matcher, then the
    candidates of the loss (which ``point_coords`` holds after their selection).
    """

    def __init__(self, recorded: Recorded, grid: np.ndarray | None, rows: int) -> None:
        self.recorded, self.rows = recorded, rows
        self.grid = None if grid is None else torch.from_numpy(grid)[None]
        self.layer = -1

    def uniform(self, rows: int, device: torch.device) -> torch.Tensor:
        self.layer += 1
        return self.of_matcher(self.layer)

    def uncertain(self, logits: torch.Tensor) -> torch.Tensor:
        if self.grid is not None:
            return self.grid.expand(len(logits), -1, -1)
        return torch.from_numpy(self.recorded[f"point_coords.{self.layer:02d}"])

    def of_matcher(self, layer: int) -> torch.Tensor:
        """``float[B, S, 2]`` that layer ``layer`` (0 the last) was matched on."""
        if self.grid is not None:
            return self.grid.expand(self.rows, -1, -1)
        draws = sorted(name for name in self.recorded if re.fullmatch(r"rand\.\d+", name))
        per_layer = len(draws) // sum(name.startswith("point_coords.") for name in self.recorded)
        first = layer * per_layer
        return torch.cat([torch.from_numpy(self.recorded[name]) for name in draws[first : first + self.rows]])


def targets_of(inputs: Recorded, case: str, rows: int) -> list[MaskTargets]:
    """The recorded truth, padded to the size of the mask branch's input."""
    height, width = inputs[f"{case}.images"].shape[-2:]
    targets = []
    for row in range(rows):
        masks = torch.from_numpy(inputs[f"{case}.gt_masks.b{row}"]).float()
        padded = torch.zeros(len(masks), height, width)
        padded[:, : masks.shape[1], : masks.shape[2]] = masks
        targets.append(MaskTargets(padded))
    return targets


def criterion_of(golden: Mapping[str, object], sampler: RecordedPoints) -> SegCriterion:
    """The criterion with the recorded weights."""
    weights = golden["loss_weights"]
    assert isinstance(weights, dict)
    return SegCriterion(
        CriterionConfig(
            class_weight=weights["SEG_class"], mask_weight=weights["mask"], dice_weight=weights["dice"]
        ),
        sampler,
    )


def losses(recorded: Recorded, found: SegLosses) -> Iterator[tuple[str, Pair]]:
    """Our losses beside the recorded ones."""
    parts = found.parts
    names = {"loss_mask": "mask", "loss_dice": "dice", "loss_SEG_class": "class", "loss_llm": "text"}
    for name, truth in recorded.items():
        kind, _, key = name.partition(".")
        value = torch.from_numpy(np.asarray(truth))
        if kind == "loss_raw":
            ours = key.removeprefix("loss_").replace("SEG_class", "class")
            yield name, (found.raw[ours], value)
        elif key == "loss":
            yield name, (found.total, value)
        elif kind == "loss" and not (key.endswith("_class") and not value):  # the class loss has two names
            yield name, (parts[names.get(key, "class")], value)


def text_losses(recorded: Recorded, output: SegOutput, inputs: ModelInputs) -> Iterator[tuple[str, Pair]]:
    """The loss of a batch without masks beside the recorded one, which has two names."""
    found = SegCriterion(CriterionConfig())(output, [], inputs.labels)
    for name in ("loss.loss", "loss.loss_llm"):
        if name in recorded:
            yield name, (found.total, torch.from_numpy(recorded[name]))


def matches(
    recorded: Recorded,
    output: SegOutput,
    targets: list[MaskTargets],
    sampler: RecordedPoints,
    criterion: SegCriterion,
) -> Iterator[tuple[str, Pair]]:
    """Our assignments and their costs beside the recorded ones."""
    assert output.mask_logits is not None
    layers = [output.mask_logits, *(masks for masks, _ in output.aux)]
    batch = TargetBatch.pack(targets, output.mask_logits)
    weights = criterion.config.mask_weight, criterion.config.dice_weight
    for layer, logits in enumerate(layers):
        points = sampler.of_matcher(layer)
        found = match(logits, batch, points, *weights)
        labels, counted = batch.sample(points)
        sampled = sample_points(logits, points)
        cost = weights[0] * pairwise_bce(sampled, labels, counted) + weights[1] * pairwise_dice(
            sampled, labels, counted
        )
        for row in range(len(targets)):
            for kind, ours in (("query", found.query), ("target", found.mask)):
                name = f"match.{layer:02d}.b{row}.{kind}"
                yield name, (ours[found.row == row], torch.from_numpy(recorded[name]))
            name = f"match_cost.{layer * len(targets) + row:02d}"
            yield name, (cost[row, :, : batch.counts[row]], torch.from_numpy(recorded[name]))


def official_gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients of our parameters under official names, fused where the official tensors are."""
    parts: dict[str, dict[int, torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        found = official_name(name)
        if found is not None and parameter.grad is not None:
            parts.setdefault(found[0], {})[found[1]] = parameter.grad
    return {name: torch.cat([rows[i] for i in sorted(rows)]) for name, rows in parts.items()}


def gradients(
    recorded: Recorded, names: list[str], found: Mapping[str, torch.Tensor]
) -> Iterator[tuple[str, Pair | str]]:
    """Our gradients beside the recorded ones, then all norms at once."""
    for name, truth in recorded.items():
        if name.startswith("grad."):
            yield name, (found[name.removeprefix("grad.")], torch.from_numpy(truth))
    missing = sorted(name for name in names if name not in found)
    for name in missing:
        yield f"grad_norms[{name}]", "we have no such parameter or it gets no gradient"
    norms = {name: norm for name, norm in zip(names, recorded["grad_norms"], strict=True) if name in found}
    for name, norm in norms.items():
        yield f"grad_norms[{name}]", (found[name].norm(), torch.tensor(float(norm)))
