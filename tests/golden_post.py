"""Masks at the frame's own size and their scores, recorded and ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from instructseg.inference.postprocess import all_masks, postprocess
from instructseg.structures import Geometry, ModelInputs, SegOutput
from tests.golden_stages import Pair

UNDECIDED = 1e-4
"""A pixel whose recorded logit is closer to 0 may fall on either side in another order of summation."""


def geometry_of(padding: np.ndarray, original: list[int]) -> Geometry:
    """From the recorded ``bool[H, W]`` padding mask, true on padding."""
    height, width = (int(real.sum()) for real in (~padding.all(1), ~padding.all(0)))
    return Geometry((original[0], original[1]), (height, width), (padding.shape[0], padding.shape[1]))


def masks(
    recorded: Mapping[str, np.ndarray], output: SegOutput, inputs: ModelInputs, geometry: Geometry
) -> Iterator[tuple[str, Pair | str]]:
    """Every query's mask and score, then the answer that ``postprocess`` gives."""
    assert output.mask_logits is not None and output.seg_logits is not None
    truth = {name: torch.from_numpy(values) for name, values in recorded.items()}
    logits, scores = all_masks(output.mask_logits[0], output.seg_logits[0], geometry)
    order = truth["post.topk_indices"]
    yield "post.topk_indices", "an order that is not defined; final.* are compared in it"
    ours = {
        "post.SEG_cls_logits": output.seg_logits[0][:, None],
        "post.mask_logits_resized_by_query": logits,
        "post.scores_by_query": scores,
        "final.scores": scores[order],
    }
    for name, values in ours.items():
        if name in truth:
            yield name, (values, truth[name])
    (answer,) = postprocess(output, replace(inputs, geometry=(geometry,)))
    best = int(truth["final.scores"].argmax())
    yield "postprocess.score", (torch.tensor(answer.score), truth["final.scores"][best])
    if "final.pred_masks" not in truth:
        return
    final = truth["final.pred_masks"]
    soft = bool(((final != 0) & (final != 1)).any())
    decided = truth["post.mask_logits_resized_by_query"][order].abs() > UNDECIDED
    all_ours = logits[order].sigmoid() if soft else (logits[order] > 0).float()
    yield "final.pred_masks", (torch.where(decided, all_ours, final), final)
    inside = (final[best] > (0.5 if soft else 0)).float()
    mask = torch.from_numpy(answer.mask).float()
    yield "postprocess.mask", (torch.where(decided[best], mask, inside), inside)
