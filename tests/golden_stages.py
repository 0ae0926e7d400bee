"""Which tensor of our model each recorded stage of the official one is.

The official code encodes frames one call at a time and instructions one row at a time (``name#k`` is the
call ``k``); ours encodes all of them at once. A stage is matched by what it means, not by when it was computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from instructseg.model import InstructSeg
from instructseg.structures import IGNORE_LABEL, ModelInputs, Role, SegOutput

Pair = tuple[torch.Tensor, torch.Tensor]
"""Ours and the recorded one, of equal shape."""


@dataclass
class Run:
    """One forward of our model with everything that its modules took and gave.

    Attributes:
        model, inputs, output: the forward.
        calls: module name to the inputs, keyword inputs and output of its (only) call.
        frame_calls: how often the official code called its SigLIP.
    """

    model: InstructSeg
    inputs: ModelInputs
    output: SegOutput
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = field(default_factory=dict)
    frame_calls: int = 1

    @property
    def rows(self) -> int:
        return len(self.inputs.roles)

    def out(self, name: str) -> torch.Tensor:
        """What module ``name`` gave; the first of several."""
        output = self.calls[name][2]
        return output if isinstance(output, torch.Tensor) else output[0]

    def taken(self, name: str, key: str | int = 0) -> torch.Tensor:
        """What module ``name`` took."""
        arguments, keywords, _ = self.calls[name]
        return arguments[key] if isinstance(key, int) and arguments else keywords[str(key)]

    def frame(self, name: str, call: int) -> torch.Tensor:
        """What module ``name`` gave for the frame of each picture that the official call ``call`` shows."""
        frames = self.out(name).unflatten(0, (len(self.inputs.clip_pixels), -1))  # (F, 1+R, ..)
        references = frames.shape[1] - 1
        shown = 0 if call == self.frame_calls - 1 or not references else call + 1
        return frames[:, shown]

    def pairs(self, name: str, row: int) -> torch.Tensor:
        """What a module of the perceiver gave for the references of a row, ``(1, T, K, D)``."""
        return self.out(name).unflatten(0, (self.rows, -1))[row][None]


def watched_forward(model: InstructSeg, inputs: ModelInputs, frame_calls: int = 1) -> Run:
    """One forward with every module watched; ``frame_calls`` as in :class:`Run`."""
    calls: dict[str, Any] = {}

    def watch(name: str) -> Callable[..., None]:
        def keep(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls[name] = (args, kwargs, output)

        return keep

    handles = [
        module.register_forward_hook(watch(name), with_kwargs=True)
        for name, module in model.named_modules()
        if name
    ]
    output = model(inputs, aux=True)
    for handle in handles:
        handle.remove()
    return Run(model, inputs, output, calls, frame_calls)


def compare(run: Run, name: str, recorded: np.ndarray) -> Pair | str | None:
    """Our tensor for a recorded stage and the part of the latter that it is to equal.

    A string says why there is none on purpose; ``None`` that the stage is not known here.
    """
    base, _, call = name.partition("#")
    truth = torch.from_numpy(np.asarray(recorded))
    for pattern, find in _STAGES.items():
        match = re.fullmatch(pattern, base)
        if match:
            return find(run, truth, int(call or 0), *map(int, match.groups()))
    return None


def _module(template: str, place: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None) -> Any:
    def find(run: Run, truth: torch.Tensor, _: int, *numbers: int) -> Pair:
        ours = run.out(template.format(*numbers))
        return (ours if place is None else place(ours, truth)), truth

    return find


def _frame(template: str) -> Any:
    def find(run: Run, truth: torch.Tensor, call: int, *numbers: int) -> Pair | str:
        name = template.format(*numbers)
        if name not in run.calls:
            return "a layer after the selected hidden state is not built"
        return run.frame(name, call), truth

    return find


def _selected(run: Run, truth: torch.Tensor, call: int) -> Pair:
    return run.frame("vision", call), truth


def _perceived(template: str) -> Any:
    def find(run: Run, truth: torch.Tensor, row: int, *numbers: int) -> Pair:
        return run.pairs(template.format(*numbers), row), truth

    return find


def _fused(template: str) -> Any:
    """VMTF computes the global latent alone: the detailed ones do not reach the output."""

    def find(run: Run, truth: torch.Tensor, row: int, *numbers: int) -> Pair:
        ours = run.out(template.format(*numbers))[row]  # (1, V)
        return ours[0], truth.flatten(0, -2)[0]

    return find


def _real(values: Callable[..., torch.Tensor]) -> Any:
    """A tensor of the language sequence; padding is left out."""

    def find(run: Run, truth: torch.Tensor, _: int, *numbers: int) -> Pair:
        mask = run.inputs.attention_mask
        return values(run, *numbers)[mask], truth[mask]

    return find


def _role(role: Role) -> Any:
    def find(run: Run, truth: torch.Tensor, _: int) -> Pair:
        return (run.inputs.roles == role).float(), truth.float()

    return find


def _labels(run: Run, truth: torch.Tensor, _: int) -> Pair | str:
    if run.inputs.labels is None:
        return "labels are not given outside training"
    return run.inputs.labels.float(), truth.float()


def _text_logits(run: Run, truth: torch.Tensor, _: int) -> Pair:
    assert run.inputs.labels is not None and run.output.text_logits is not None
    return run.output.text_logits, truth[:, :-1][run.inputs.labels[:, 1:] != IGNORE_LABEL]


def _pooled(run: Run, truth: torch.Tensor, row: int) -> Pair:
    text, mask = run.taken("vmtf", 0)[row], run.taken("vmtf", 1)[row]
    return torch.cat((run.taken("vmtf.pooled_proj")[row][None], text[mask])), truth


def _prediction(run: Run, number: int) -> Pair:
    output = run.output
    assert output.mask_logits is not None and output.seg_logits is not None
    return (*output.aux, (output.mask_logits, output.seg_logits))[number]


def _multi_scale(run: Run, truth: torch.Tensor, _: int, level: int) -> Pair:
    return run.calls["pixel_decoder"][2][0][level], truth


def _map(tokens: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return tokens.transpose(1, 2).reshape(truth.shape)


def _same_shape(ours: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return ours.reshape(truth.shape)


def _one_row(template: str) -> Any:
    def find(run: Run, truth: torch.Tensor, row: int) -> Pair:
        return run.out(template)[row].reshape(truth.shape), truth

    return find


_SWIN = "backbone.swin.swin"
_STAGES: dict[str, Any] = {
    r"swin\.patch_embed": _module(f"{_SWIN}.embeddings", _map),
    r"swin\.stage(\d+)\.block(\d+)": _module(_SWIN + ".encoder.layers.{}.blocks.{}"),
    r"swin\.res(\d+)": lambda run, truth, _, n: (run.calls["backbone"][2][f"res{n}"], truth),
    r"siglip\.embeddings": _frame("vision.model.embeddings"),
    r"siglip\.layer(\d+)": _frame("vision.model.encoder.layers.{}"),
    r"siglip\.selected": _selected,
    r"projector\.out": _frame("projector"),
    r"ovp\.attn(\d+)": _perceived("ovp.perceiver.layers.{}.attention"),
    r"ovp\.ff(\d+)": _perceived("ovp.perceiver.layers.{}.ff"),
    r"ovp\.out": _perceived("ovp"),
    r"assembled\.attention_mask": lambda run, truth, _: (run.inputs.attention_mask.float(), truth.float()),
    r"assembled\.inputs_embeds": _real(lambda run: run.taken("language.model", "inputs_embeds")),
    r"assembled\.labels": _labels,
    r"assembled\.seg_query_mask": _role(Role.MASK),
    r"assembled\.refer_embedding_indices": _role(Role.REFER),
    r"llm\.layer(\d+)": _real(lambda run, n: run.out(f"language.model.layers.{n}")),
    r"llm\.last_hidden_state": _real(lambda run: run.out("language.model.final_layernorm")),
    r"lm_head\.logits": _text_logits,
    r"seg_query\.selected": lambda run, truth, _: (run.taken("mask_decoder.query_proj"), truth),
    r"seg_query_projector\.out": _module("mask_decoder.query_proj"),
    r"refer\.pooled_and_tokens": _pooled,
    r"vmtf\.origin_SEG": _one_row("vmtf.pooled_proj"),
    r"vmtf\.local_project": _module("vmtf.visual_proj.res5"),
    r"vmtf\.text_proj": _fused("vmtf.text_proj"),
    r"vmtf\.attn(\d+)": _fused("vmtf.perceiver.layers.{}.attention"),
    r"vmtf\.ff(\d+)": _fused("vmtf.perceiver.layers.{}.ff"),
    r"vmtf\.out": _fused("vmtf.perceiver"),
    r"SEG_token_projector\.in": lambda run, truth, _: (
        run.taken("vmtf.classifier").reshape(truth.shape), truth),
    r"SEG_token_projector\.out": _module("vmtf.classifier", _same_shape),
    r"pixel_decoder\.input_proj(\d+)": _module("pixel_decoder.decoder.input_projections.{}"),
    r"pixel_decoder\.enc(\d+)": _module("pixel_decoder.decoder.encoder.layers.{}"),
    r"pixel_decoder\.mask_features": lambda run, truth, _: (run.calls["pixel_decoder"][2][1], truth),
    r"pixel_decoder\.multi_scale(\d+)": _multi_scale,
    r"predictor\.layer(\d+)\.query": lambda run, truth, _, n: (
        run.out(f"mask_decoder.layers.{n}").transpose(0, 1), truth),
    r"predictor\.pred_masks\.(\d+)": lambda run, truth, _, n: (_prediction(run, n)[0], truth),
    r"predictor\.pred_SEG_logits\.(\d+)": lambda run, truth, _, n: (_prediction(run, n)[1][..., None], truth),
}  # fmt: skip
