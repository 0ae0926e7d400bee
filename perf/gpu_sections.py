"""What `perf.gpu` measures: one generator of rows for each section."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from instructseg.criterion import CriterionConfig, SegCriterion
from instructseg.engine.optim import OptimConfig, build_optimizer, select_trainable, train_mode
from instructseg.engine.summary import prepare_memory
from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.model import InstructSeg, preset
from instructseg.model.quantized import quantize_language
from instructseg.processing import InstructSegProcessor
from instructseg.structures import Sample, SegOutput, Task
from perf.device import Case, Device
from perf.official_procedure import REFERENCES, OfficialProcedure
from perf.stages import FEW, stage_cases
from perf.workload import INSTRUCTIONS, build

STRIDE, CHUNK, PROFILED = 4, 4, 8
TRAINED = ("*.lora_*", "mask_queries", "ovp", "vmtf", "pixel_decoder", "mask_decoder")
"""As in ``configs/instructseg_3b_lora_24gb.yaml``."""
GRAPHS = ("siglip", "ovp", "swin")
"""Stages that do not ask the device for sizes, so that their kernels can be replayed."""
Rows = Iterator[dict[str, Any]]


@dataclass
class Bench:
    """What the sections share.

    Attributes:
        device: the clock.
        model, processor: bfloat16, the released size unless ``tiny``.
        frames: ``uint8[H, W, 3]`` each.
        tiny: whether this is a trial.
        cases: stages by name, once they are measured.
    """

    device: Device
    model: InstructSeg
    processor: InstructSegProcessor
    frames: list[np.ndarray]
    tiny: bool = False
    cases: dict[str, Case] = field(default_factory=dict)

    def stages(self) -> dict[str, Case]:
        """Calls of single stages, with inputs that are ready on the device."""
        if not self.cases:
            model, processor, frame = self.model, self.processor, self.frames[0]
            cases = dict(stage_cases(model, processor))
            pixels = processor.encode_clip(frame)[None].to(model.device, model.dtype)
            ahead = {
                "pixels_on_cpu": lambda: (processor.encode_clip(frame), processor.encode_key_frame(frame)),
                "siglip": lambda: model.encode_frame(clip_pixels=pixels),
            }
            self.cases = {**ahead, **{name: case for name, case in cases.items() if name not in ahead}}
        return self.cases


def rates(bench: Bench) -> Rows:
    """Matrix rates and memory bandwidth of the device."""
    yield bench.device.measure_rates(256 if bench.tiny else 8192)


def _pair(bench: Bench, ours: Case, count: int, official: Case, theirs: int) -> dict[str, float]:
    """Ours and the official procedure: ms per frame, frames per second, ratio, peak memory."""
    device, repeats = bench.device, 2
    peaks = device.peak(ours), device.peak(official)
    mine = device.seconds(ours, repeats, warm=0) / count
    other = device.seconds(official, repeats, warm=0) / theirs
    return {"ms": 1e3 * mine, "fps": 1 / mine, "official_ms": 1e3 * other, "ratio": other / mine,
            "peak_gib": peaks[0], "official_peak_gib": peaks[1]}  # fmt: skip


def _video(bench: Bench, count: int, frames: Sequence[np.ndarray], **options: Any) -> None:
    predictor = VideoPredictor(bench.model, bench.processor)
    for _ in predictor.predict(list(frames), INSTRUCTIONS[:count], threshold=0, **options):
        pass


def videos(bench: Bench) -> Rows:
    """Whole videos, from pixels to masks: exact, with a stride, with few tokens; one and three instructions."""
    official, frames = OfficialProcedure(bench.model, bench.processor), bench.frames
    for count in (1, 3):
        for stride in (1, STRIDE):
            ours = partial(_video, bench, count, frames, llm_stride=stride, chunk=CHUNK)
            theirs = partial(official.video, frames, INSTRUCTIONS[:count], [len(frames) // 2])
            row = _pair(bench, ours, len(frames), theirs, 1)
            yield {"case": f"video K={count} stride {stride}", **row}
    for count, stride in ((1, 1), (1, STRIDE), (3, STRIDE)):
        for name, choice in FEW.items():
            ours = partial(_video, bench, count, frames, llm_stride=stride, chunk=CHUNK, keep_tokens=choice)
            theirs = partial(official.video, frames, INSTRUCTIONS[:count], [len(frames) // 2])
            row = _pair(bench, ours, len(frames), theirs, 1)
            yield {"case": f"video K={count} stride {stride} {name}", **row}


def images(bench: Bench) -> Rows:
    """Whole images, from pixels to masks."""
    official = OfficialProcedure(bench.model, bench.processor)
    predictor = ImagePredictor(bench.model, bench.processor)
    for count in (1, 3, 10):
        texts, frame = INSTRUCTIONS[:count], bench.frames[0]
        ours, theirs = partial(predictor.predict, frame, texts), partial(official.image, frame, texts)
        yield {"case": f"image K={count}", **_pair(bench, ours, 1, theirs, 1)}
    few = partial(predictor.predict, frame, texts, keep_tokens=FEW["few"])
    yield {"case": f"image K={count} few", **_pair(bench, few, 1, theirs, 1)}


@torch.no_grad()
def stages(bench: Bench) -> Rows:
    """Each stage alone on one frame: time, arithmetic, share of the measured bfloat16 matrix rate."""
    for name, case in bench.stages().items():
        yield {"case": name, **bench.device.measured(case)}


def profile(bench: Bench) -> Rows:
    """How long the device is busy in an exact video, and its longest kernels."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    frames = bench.frames[:PROFILED]
    case = partial(_video, bench, 1, frames, chunk=CHUNK)
    spent = bench.device.seconds(case, 1)
    kinds = [ProfilerActivity.CUDA] if bench.device.cuda else [ProfilerActivity.CPU]
    with record(activities=kinds) as found:
        case()
        bench.device.wait()
    name = "self_device_time_total" if bench.device.cuda else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, name))
    times = [getattr(event, name) / 1e3 / len(frames) for event in events]
    yield {"case": "busy, of wall", "ms": sum(times), "plain_ms": 1e3 * spent / len(frames)}
    for event, taken in list(zip(events, times, strict=True))[:16]:
        yield {"case": event.key[:80], "ms": taken, "calls": event.count / len(frames)}


def _difference(ours: SegOutput, theirs: SegOutput) -> dict[str, float]:
    """Relative deviation of masks and scores, and the share of mask cells of the same sign."""
    assert ours.mask_logits is not None and ours.seg_logits is not None
    assert theirs.mask_logits is not None and theirs.seg_logits is not None
    mine, other = ours.mask_logits.double().cpu(), theirs.mask_logits.double().cpu()
    apart = ours.seg_logits.double().cpu().sigmoid() - theirs.seg_logits.double().cpu().sigmoid()
    return {
        "relative": float((mine - other).norm() / other.norm()),
        "same_sign": float(((mine > 0) == (other > 0)).double().mean()),
        "presence": float(apart.abs().max()),
    }


@contextmanager
def _exact_float32() -> Iterator[None]:
    """float32 convolutions without TF32."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _in_bfloat16(model: InstructSeg) -> InstructSeg:
    """A copy as it is loaded in bfloat16: the pixel decoder stays in float32."""
    found = copy.deepcopy(model)
    for parameter in found.parameters():
        parameter.requires_grad_(False)
    prepare_memory(found, torch.bfloat16, False, "")
    return found


@torch.no_grad()
def parity(bench: Bench) -> Rows:
    """bfloat16 against float32, on the golden tensors and with the random weights; the device against a CPU."""
    from tests.golden_check import inputs_of, load_golden

    golden = load_golden(Path(__file__).parents[1] / "tests/data/golden/fixture_a")
    inputs, device = inputs_of(golden, "video"), bench.device.device
    with _exact_float32():
        here = golden.model(inputs)
        there = golden.model.to(device)(inputs.to(device))
        half = _in_bfloat16(golden.model)(inputs.to(device, torch.bfloat16))
        yield {"case": "golden: float32, device against CPU", **_difference(there, here)}
        yield {"case": "golden: bfloat16 against float32", **_difference(half, here)}
        frames = bench.frames
        sample = Sample(frames[2], INSTRUCTIONS[0], Task.RVOS, (frames[0], frames[1], frames[3], frames[4]))
        given = bench.processor([sample]).to(device)
        exact = copy.deepcopy(bench.model).float()
        full = exact(given)
        few = bench.model(given.to(dtype=bench.model.dtype))
        yield {"case": "random: bfloat16 against float32", **_difference(few, full)}


@torch.no_grad()
def batches(bench: Bench) -> Rows:
    """Rows and frames per batch: time of one, and share of the matrix rate."""
    model, processor, measured = bench.model, bench.processor, bench.device.measured
    placed: Any = {"device": model.device, "dtype": model.dtype}
    roles = processor.encode_text(INSTRUCTIONS[:1], Task.RVOS, REFERENCES)[1].to(model.device)
    side, clip = model.config.image_size, model.config.vision_config.image_size
    for size in (1, 2, 4, 8, 16):
        embeds = torch.randn(size, roles.shape[1], model.config.text_config.hidden_size, **placed)
        rows = roles.expand(size, -1)
        yield {"case": f"llm x{size}", **measured(partial(model.reason, embeds, rows), size)}
        pixels = torch.randn(size, 3, clip, clip, **placed)
        yield {"case": f"siglip x{size}", **measured(partial(model.encode_frame, pixels), size)}
        if size <= 8:
            key = torch.randn(size, 3, side, side, **placed)
            yield {"case": f"swin x{size}", **measured(partial(model.backbone, key), size)}
            maps = model.backbone(key)
            yield {"case": f"pixel decoder x{size}", **measured(partial(model.pixel_decoder, maps), size)}
    for chunk in (1, 8):
        spent = bench.device.seconds(partial(_video, bench, 1, bench.frames, chunk=chunk), 1) / len(
            bench.frames
        )
        yield {"case": f"video K=1 exact, chunk {chunk}", "ms": 1e3 * spent, "fps": 1 / spent}


@torch.no_grad()
def variants(bench: Bench) -> Rows:
    """Other number types of a stage."""
    measured, cases, model = bench.device.measured, bench.stages(), bench.model
    torch.backends.cuda.matmul.allow_tf32 = True
    yield {"case": "pixel_decoder tf32", **measured(cases["pixel_decoder"])}
    torch.backends.cuda.matmul.allow_tf32 = False
    plain = model.pixel_decoder
    model.pixel_decoder = copy.deepcopy(plain).bfloat16()
    yield {"case": "pixel_decoder bfloat16", **measured(cases["pixel_decoder"])}
    model.pixel_decoder = plain
    language = model.language
    for bits in ("int8", "int4"):
        model.language = copy.deepcopy(language)
        quantize_language(model.language, bits)
        yield {"case": f"llm_video {bits}", **measured(cases["llm_video"])}
        model.language = language


@torch.no_grad()
def graphs(bench: Bench) -> Rows:
    """CUDA graphs of single stages, which show the cost of launches."""
    layers = partial(bench.model.language.model, inputs_embeds=_embeds(bench), use_cache=False)
    yield {"case": "llm layers", **bench.device.measured(layers)}
    for name, case in {**{name: bench.stages()[name] for name in GRAPHS}, "llm layers": layers}.items():
        if bench.device.cuda:
            yield {"case": f"{name} as a CUDA graph", "ms": 1e3 * bench.device.seconds(_captured(case))}


def _embeds(bench: Bench) -> torch.Tensor:
    """A sequence of about the length of a video prompt, ``float[1, L, D]``."""
    config, model = bench.model.config, bench.model
    length = 128 if bench.tiny else 1440
    return torch.randn(1, length, config.text_config.hidden_size, device=model.device, dtype=model.dtype)


def _captured(case: Case) -> Case:
    """A call that replays the kernels of ``case``."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        case()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        case()
    return graph.replay


def training(bench: Bench) -> Rows:
    """A step of the LoRA recipe for one card: forward, losses, backward, clipping, optimizer."""
    lora: Any = {"r": 8, "alpha": 16, "dropout": 0.05, "targets": ["q_proj", "v_proj"]}
    config = preset("nano" if bench.tiny else "instructseg-3b", lora=lora)
    model, processor = build(config, device=bench.device.device)
    optim = OptimConfig(lr=4e-5, weight_decay=0.0, trainable=TRAINED)
    select_trainable(model, optim)
    prepare_memory(model, torch.bfloat16, not bench.tiny, "")
    train_mode(model)
    optimizer, criterion = build_optimizer(model, optim), SegCriterion(CriterionConfig())
    frames = bench.frames
    mask = (frames[2][..., 0] > 128)[None].astype(np.uint8)
    sample = Sample(frames[2], INSTRUCTIONS[0], Task.RVOS, tuple(frames[i] for i in (0, 1, 3, 4)), mask)

    def step(samples: Sequence[Sample]) -> None:
        inputs = processor(samples).to(bench.device.device)
        targets = [_moved(target, bench.device.device) for target in processor.targets(samples)]
        with torch.autocast(bench.device.device.type, torch.bfloat16):
            output = model(inputs, aux=True)
        criterion(output, targets).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for size in (1, 4):
        peak = bench.device.peak(partial(step, [sample] * size))
        spent = bench.device.seconds(partial(step, [sample] * size), 2, warm=1)
        row = {"ms": 1e3 * spent / size, "samples_per_second": size / spent, "peak_gib": peak}
        yield {"case": f"LoRA step, {size} x (key + 4 references)", **row}


def _moved(targets: Any, device: torch.device) -> Any:
    values = {entry.name: getattr(targets, entry.name) for entry in fields(targets)}
    return replace(targets, **{name: value.to(device) for name, value in values.items() if value is not None})


@torch.no_grad()
def compiled(bench: Bench) -> Rows:
    """``torch.compile`` of single stages; the seconds of compiling are in the first call."""
    model = bench.model
    placed: Any = {"device": model.device, "dtype": model.dtype}
    key = torch.randn(1, 3, model.config.image_size, model.config.image_size, **placed)
    maps = model.backbone(key)
    embeds = _embeds(bench)
    parts: dict[str, tuple[nn.Module, Callable[[nn.Module], Case]]] = {
        "llm": (model.language.model, lambda part: lambda: part(inputs_embeds=embeds, use_cache=False)),
        "pixel_decoder": (model.pixel_decoder, lambda part: partial(part, maps)),
        "swin": (model.backbone, lambda part: partial(part, key)),
    }
    for name, (part, call) in parts.items():
        case = call(torch.compile(part))
        first = bench.device.seconds(case, 1, warm=0)
        plain, fast = bench.device.measured(call(part)), bench.device.seconds(case)
        yield {"case": f"{name} compiled", "ms": 1e3 * fast, "plain_ms": plain["ms"], "first_s": first,
               "share": plain["tflop"] / fast / (bench.device.rate or 1)}  # fmt: skip


SECTIONS: dict[str, tuple[Callable[[Bench], Rows], float]] = {
    "rates": (rates, 3),
    "videos": (videos, 25),
    "images": (images, 6),
    "stages": (stages, 6),
    "profile": (profile, 8),
    "parity": (parity, 8),
    "batches": (batches, 10),
    "variants": (variants, 10),
    "training": (training, 20),
    "graphs": (graphs, 5),
    "compiled": (compiled, 60),
}
"""What is measured, in order, and seconds that it takes on a large GPU by estimate."""
