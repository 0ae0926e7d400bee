"""Each stage at full width: its time, its share of the `torch.mm` rate, and what a whole model takes.

    OMP_NUM_THREADS=1 python -m perf.stages --json perf/results/stages.json

The released widths and picture sizes with few layers; processor seconds with one thread, medians.

* ``of_mm``: the time that ``torch.mm`` takes for the products of the stage's linear layers and convolutions
  (as matrix products), measured in the same run, over the time of the stage. Attention, norms and resampling
  count as loss, so the true share is higher.
* ``full_s``: the stage with all its layers: the measured time, and for each layer that is not there the time of
  one that is.
* ``composed``: what the official procedure and ours take per frame with all layers, by the number of calls of
  each stage, which is exact.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from instructseg.inference.fewer_tokens import SequenceRow
from instructseg.inference.instructions import lay_out_places
from instructseg.inference.postprocess import all_masks, best_masks
from instructseg.model import FrameFeatures, InstructSeg
from instructseg.model.instructseg import LanguageStates
from instructseg.model.quantized import quantize_language
from instructseg.model.tokens import TokenChoice
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Geometry, Role, Task
from perf.official_procedure import Prompt, Stages, plain_sampling
from perf.workload import (
    FULL_DEPTHS,
    INSTRUCTIONS,
    build,
    configuration,
    in_turns,
    pictures,
    save,
    seconds,
)

DEPTHS = {
    "llm": 2,
    "siglip": 2,
    "swin": (1, 1, 2, 1),
    "pixel_decoder": 2,
    "mask_decoder": 9,
    "ovp": 3,
    "vmtf": 3,
}
"""Layers of the measured model; the perceivers and the mask decoder are whole."""
FEW: dict[str, TokenChoice] = {
    "half": TokenChoice(0.5),
    "few": TokenChoice(0.2),
    "few_both": TokenChoice(0.2, 0.2),
}
"""Fewer tokens of the key frame, and of the perceiver as well, by the ending of the stage's name."""
FEW_CASES = {("image", 10), ("video", 1), ("video", 3)}
"""What is composed with few tokens, by case and instructions."""
_ROWS = 4096
Shape = tuple[int, int, int]


def layers_of(model: InstructSeg) -> dict[str, list[tuple[Sequence[nn.Module], int]]]:
    """Layers of a kind and how many there are in the released model, by stage."""
    swin: Any = model.backbone.swin
    vision: Any = model.vision
    blocks = [stage.blocks for stage in swin.swin.encoder.layers]
    encoder: Any = model.pixel_decoder.decoder.encoder
    return {
        "llm": [(list(model.language.model.layers), FULL_DEPTHS["llm"])],
        "siglip": [(list(vision.model.encoder.layers), FULL_DEPTHS["siglip"])],
        "swin": list(zip(map(list, blocks), FULL_DEPTHS["swin"], strict=True)),
        "pixel_decoder": [(list(encoder.layers), FULL_DEPTHS["pixel_decoder"])],
    }


@contextmanager
def layer_seconds(layers: Sequence[nn.Module]) -> Iterator[list[float]]:
    """Processor seconds of each call of ``layers``."""
    taken: list[float] = []
    started: list[float] = []
    hooks = []
    for layer in layers:
        hooks.append(layer.register_forward_pre_hook(lambda *_: started.append(time.process_time())))
        hooks.append(layer.register_forward_hook(lambda *_: taken.append(time.process_time() - started.pop())))
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def products(model: nn.Module) -> Iterator[Counter[Shape]]:
    """Counts the matrix products ``(rows, inputs, outputs)`` of linear layers and convolutions."""
    found: Counter[Shape] = Counter()

    def linear(part: nn.Linear, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        found[inputs[0].numel() // part.in_features, part.in_features, part.out_features] += 1

    def convolution(part: nn.Conv2d, _: Any, output: torch.Tensor) -> None:
        rows = output.numel() // part.out_channels
        found[rows, part.weight[0].numel(), part.out_channels] += 1

    hooks = []
    for part in model.modules():
        if isinstance(part, nn.Linear):
            hooks.append(part.register_forward_hook(linear))
        elif isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(convolution))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def mm_seconds(shape: Shape, repeats: int) -> float:
    """``torch.mm`` on a shape; of more than 4,096 rows so many are measured, and the time is scaled."""
    rows, inputs, outputs = shape
    few = min(rows, _ROWS)
    a, b = torch.randn(few, inputs), torch.randn(outputs, inputs).t()
    torch.mm(a, b)
    return statistics.median(seconds(lambda: torch.mm(a, b)) for _ in range(repeats)) * rows / few


def stage_cases(model: InstructSeg, processor: InstructSegProcessor) -> dict[str, Callable[[], Any]]:
    """What is called for each stage; names with ``_official`` are the official way."""
    session = Stages(model, processor)
    text = [INSTRUCTIONS[1]]
    video, image = session.prompt(text, Task.RVOS, 4), session.prompt(text, Task.RES, 0)
    width = model.config.text_config.hidden_size
    frame = pictures(1, 480, 640)[0]
    tokens = session.tokens(frame)
    encoded, geometry = processor.encode_key_frame(frame)
    pixels = session.place(encoded[None])
    maps = model.backbone(pixels)
    levels, mask_features = model.pixel_decoder(maps)
    features = FrameFeatures(None, model.vmtf.encode_visual(maps), levels, mask_features)
    placed: Any = {"device": model.device, "dtype": model.dtype}
    embeds = {
        name: torch.randn(*one.roles.shape, width, **placed)
        for name, one in (("video", video), ("image", image))
    }
    drawn = torch.randn(1, model.config.num_queries + 8, width, **placed)
    read = LanguageStates(drawn, drawn[:, 8:], drawn[:, :8], drawn[:, :8, 0].isfinite())
    output = model.decode(features, read)
    assert output.mask_logits is not None and output.seg_logits is not None
    masks, scores = output.mask_logits, output.seg_logits

    def plainly() -> Any:
        with plain_sampling(model):
            return model.pixel_decoder(maps)

    few = [few_tokens(model, kind, prompt, tokens[0]) for kind, prompt in (("video", video), ("image", image))]
    return {
        "siglip": lambda: session.tokens(frame),
        "ovp": lambda: model.perceive(tokens, video.text, video.text_mask),
        "llm_video": lambda: model.reason(embeds["video"], video.roles),
        "llm_video_official": lambda: model.reason(embeds["video"], video.roles, whole=True),
        "llm_image": lambda: model.reason(embeds["image"], image.roles),
        "llm_image_official": lambda: model.reason(embeds["image"], image.roles, whole=True),
        **few[0],
        **few[1],
        "language_head_video_official": lambda: model.language.lm_head(embeds["video"]),
        "language_head_image_official": lambda: model.language.lm_head(embeds["image"]),
        "swin": lambda: model.backbone(pixels),
        "pixel_decoder": lambda: model.pixel_decoder(maps),
        "pixel_decoder_official": plainly,
        "vmtf": lambda: model.vmtf(read.text, read.text_mask, features.visual),
        "mask_decoder": lambda: model.decode(features, read),
        "mask_decoder_official": lambda: model.decode(features, read, aux=True),
        "masks": lambda: best_masks(masks, scores, geometry),
        "masks_official": lambda: _all(masks, scores, geometry),
    }


def few_tokens(
    model: InstructSeg, kind: str, prompt: Prompt, tokens: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    """The language model with :data:`FEW` of its tokens, their choice included, which depends on the values."""
    ids, roles, width = prompt.input_ids[0], prompt.roles[0], tokens.shape[1]
    temporal = torch.randn(int((roles == Role.TEMPORAL).sum()), width, device=tokens.device, dtype=tokens.dtype)
    row = SequenceRow((ids.tolist(), roles.tolist()), tokens, temporal)
    references = len(temporal) // model.config.ovp_queries

    def case(choice: TokenChoice) -> Callable[[], Any]:
        def kept() -> SequenceRow:
            return row.fewer(choice, references, prompt.text[0], 0)

        left = kept()
        there = torch.tensor([left.layout[1]], device=tokens.device)
        placement = lay_out_places([left.places], there)
        embeds = torch.randn(*there.shape, width, device=tokens.device, dtype=tokens.dtype)
        return lambda: (kept(), model.reason(embeds, there, placement))

    return {f"llm_{kind}_{name}": case(choice) for name, choice in FEW.items()}


def _all(masks: torch.Tensor, scores: torch.Tensor, geometry: Geometry) -> Any:
    return all_masks(masks[0], scores[0], geometry)


def measure(model: InstructSeg, cases: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Time, ``torch.mm`` time and time with all layers of each stage."""
    groups = layers_of(model)
    found: dict[str, Counter[Shape]] = {}
    layers: dict[str, list[tuple[list[float], int]]] = {}

    def watched(name: str, case: Callable[[], Any]) -> Callable[[], Any]:
        kind = next((kind for kind in groups if name == kind or name.startswith(f"{kind}_")), "")
        layers[name] = [([], depth - len(present)) for present, depth in groups.get(kind, [])]

        def run() -> None:
            with ExitStack() as stack:
                found[name] = stack.enter_context(products(model))
                each = [stack.enter_context(layer_seconds(present)) for present, _ in groups.get(kind, [])]
                case()
            for (kept, _), taken in zip(layers[name], each, strict=True):
                kept.extend(taken)

        return run

    taken = in_turns({name: watched(name, case) for name, case in cases.items()}, repeats, warm=False)
    shapes = {shape: mm_seconds(shape, repeats) for shape in set().union(*found.values())}
    rows: dict[str, Any] = {}
    for name in cases:
        full = taken[name] + sum(missing * statistics.median(each) for each, missing in layers[name])
        if name.startswith("language_head"):
            full *= FULL_DEPTHS["llm"] / len(model.language.model.layers)  # its rows shrink with the layers
        mm = sum(shapes[shape] * count for shape, count in found[name].items())
        gflop = sum(2e-9 * math.prod(shape) * count for shape, count in found[name].items())
        rows[name] = {"s": taken[name], "gflop": gflop, "mm_s": mm, "of_mm": mm / taken[name], "full_s": full}
        print(name, rows[name], flush=True)
    return rows


def composed(full: Mapping[str, float], strides: Sequence[int] = (1, 4)) -> list[dict[str, Any]]:
    """Seconds per frame or picture with all layers, from seconds per call."""
    found: list[dict[str, Any]] = []

    def add(case: str, count: int, stride: int | None, few: str, official: float, ours: float) -> None:
        if few and (case, count) not in FEW_CASES:
            return
        found.append(
            {"case": case, "instructions": count, "llm_stride": stride, "tokens": few, "official_s": official,
             "ours_s": ours, "ratio": official / ours}
        )  # fmt: skip

    branch = full["swin"] + full["pixel_decoder"]
    answer = full["mask_decoder"] + full["masks"]

    def official(kind: str, encoded: int, perceived: int) -> float:
        language = full[f"llm_{kind}_official"] + full[f"language_head_{kind}_official"]
        masks = full["swin"] + full["pixel_decoder_official"]
        answers = full["mask_decoder_official"] + full["masks_official"]
        return encoded * full["siglip"] + perceived * full["ovp"] + language + masks + answers

    for few in ("", *(f"_{name}" for name in FEW)):
        for count in (1, 3, 10):
            ours = full["siglip"] + branch + count * (full["ovp"] + full[f"llm_image{few}"] + answer)
            add("image", count, None, few[1:], count * official("image", 2, 1), ours)
        for count in (1, 3):
            for stride in strides:
                language = full["ovp"] + full[f"llm_video{few}"] / stride
                ours = full["siglip"] + branch + count * (language + answer)
                add("video", count, stride, few[1:], count * official("video", 5, 4), ours)
    return found


def int8(model: InstructSeg, case: Callable[[], Any], repeats: int) -> dict[str, float]:
    """The language model's stage in fp32 and with 8-bit weights, taking turns."""
    plain, small = model.language, copy.deepcopy(model.language)
    quantize_language(small, "int8")

    def run(language: nn.Module) -> Any:
        model.language = language  # type: ignore[assignment]
        return case()

    taken = in_turns({"float32": lambda: run(plain), "int8": lambda: run(small)}, repeats, warm=False)
    model.language = plain
    return {"float32_s": taken["float32"], "int8_s": taken["int8"], "ratio": taken["float32"] / taken["int8"]}


def main() -> None:
    """Measures every stage."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", choices=("nano", "width"), default="width", help="nano is a quick trial")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, processor = build(configuration(options.size, DEPTHS))
    with torch.no_grad():
        cases = stage_cases(model, processor)
        rows = measure(model, cases, options.repeats)
        small = int8(model, cases["llm_video"], options.repeats)
    whole = composed(defaultdict(float, {name: row["full_s"] for name, row in rows.items()}))
    save(
        options.json,
        {"size": options.size, "depths": DEPTHS, "repeats": options.repeats, "stages": rows, "int8": small,
         "composed": whole},
    )  # fmt: skip


if __name__ == "__main__":
    main()
