"""Memory estimates by configuration, and the choice of settings that fit a limit.

The weights are counted exactly. Activations are estimated per stage, by the largest tensors that a stage holds
at once; stages run one after another, so the largest one counts. Features of video frames that are kept for
later frames are added, and what a tracker of masks keeps. Letters: ``e`` bytes of a value, ``B`` rows, ``L``
positions of the language sequence, ``D`` its width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

from instructseg.devices import choose_device, choose_dtype, fastest_dtype
from instructseg.inference.frame_window import REFERENCES, most_held, spacing_of
from instructseg.inference.propagation.propagation import LOOKAHEAD
from instructseg.inference.propagation.tracker_names import OFF, tracker_memory
from instructseg.log import get_logger
from instructseg.model import InstructSegConfig
from instructseg.model.backbones import trunk_class
from instructseg.model.language import KINDS
from instructseg.model.quantized import check_quantization
from instructseg.model.weight_size import choices, in_words, weight_bytes
from instructseg.out_of_memory import gib
from instructseg.pretrained import read_model_config

PROMPT_TOKENS = 64
"""Assumed number of tokens around the placeholders."""
LIBRARIES = 64 << 20
"""Code and scratch memory that torch takes on its first run."""

CHUNK = 4
"""Frames of a file that are encoded together, where that gains."""
SMALL = 512
"""Side of the mask branch's input, in pixels, up to which a CPU gains by that."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_log = get_logger(__name__)


@dataclass(frozen=True)
class Workload:
    """Expected requests.

    Attributes:
        frame_size: height and width of the largest image or frame, in pixels.
        instructions: asked at once.
        fps: frames per second of videos, which sets the spacing of references.
        track: what carries masks through videos, one object per instruction, as of
            :class:`~instructseg.inference.stream_options.StreamOptions`.
    """

    frame_size: tuple[int, int] = (1080, 1920)
    instructions: int = 16
    fps: float = 30.0
    track: str = OFF


@dataclass(frozen=True)
class MemoryPlan:
    """Settings and their expected memory in bytes.

    Attributes:
        dtype: of the values.
        quantize: ``int8`` or ``int4`` for the language model's blocks; ``None`` for plain weights.
        batch_size: rows that the language model reads together.
        chunk: frames that the encoders take together.
        weights: by part of the model.
        activations: by stage; they follow each other.
        held: features kept for later frames of a video, and what a tracker keeps.
        process: memory of the program without a model.
    """

    dtype: torch.dtype
    quantize: str | None
    batch_size: int
    chunk: int
    weights: dict[str, int]
    activations: dict[str, int]
    held: int = 0
    process: int = 0

    @property
    def expected(self) -> int:
        """Bytes at the peak."""
        return self.process + sum(self.weights.values()) + self.held + max(self.activations.values())

    def to_text(self) -> str:
        """One line."""
        stage = max(self.activations, key=lambda name: self.activations[name])
        held = f"held frames {gib(self.held)}, " if self.held else ""
        return (
            f"{in_words(self.dtype, self.quantize)}, {self.batch_size} rows and {self.chunk} "
            f"frame{'s' if self.chunk > 1 else ''} at once: {gib(self.expected)} expected (weights "
            f"{gib(sum(self.weights.values()))}, {stage} {gib(self.activations[stage])}, {held}"
            f"program {gib(self.process)})"
        )


def plan_memory(
    config: InstructSegConfig,
    max_memory: int | str,
    device: torch.device | str = "cpu",
    workload: Workload | None = None,
    dtype: torch.dtype | None = None,
    chunk: int = 1,
    spacing: int = 0,
) -> MemoryPlan:
    """The most exact settings that fit, with as many rows at once as fit with them; logged in one line.

    Frames at once are halved before rows are: they gain less.

    Args:
        config: of the model; one that is stored quantized stays so.
        max_memory: bytes, or as ``"6GB"`` or ``"6GiB"``. On a CPU of the whole program, else of the device.
        device: where the model is to run.
        workload: to fit, ``fps`` apart; more rows than its instructions are never needed.
        dtype: of the values, where it is given; ``None`` lets it be chosen.
        chunk: the most frames that are to be encoded together.
        spacing: frames of a video from one reference to the next; 0 for an image.

    Raises:
        FileNotFoundError: the model of a tracker is not available.
        ValueError: nothing fits (the message states the size of the smallest settings), or an invalid
            size or tracker.
    """
    limit, asked = parse_size(max_memory), workload or Workload()
    cpu, frame_size, instructions = torch.device(device).type == "cpu", asked.frame_size, asked.instructions
    tracked = tracker_memory(asked.track if spacing else OFF, frame_size, instructions, LOOKAHEAD, cpu)
    process = resident_memory() + LIBRARIES if cpu else 0
    tried: list[MemoryPlan] = []
    frames = [chunk >> halvings for halvings in range(chunk.bit_length())]
    rows = [max(1, instructions) >> halvings for halvings in range(max(1, instructions).bit_length())]
    for kind, quantize in choices(config, cpu, dtype):
        weights = {**weight_bytes(config, kind, quantize), "tracker": tracked.weights}
        for batch_size, together in product(rows, frames):
            activations = activation_bytes(config, kind, batch_size, frame_size, chunk=together)
            activations["tracker"] = tracked.step
            held = most_held(spacing, REFERENCES, together) if spacing else 0
            kept = held * frame_bytes(config, kind, instructions, frame_size if cpu else None)
            kept += tracked.held
            plan = MemoryPlan(kind, quantize, batch_size, together, weights, activations, kept, process)
            if plan.expected <= limit:
                _log.info("memory limit %s: %s", gib(limit), plan.to_text())
                return plan
        tried.append(plan)
    smallest = min(tried, key=lambda plan: plan.expected)
    raise ValueError(
        f"{gib(limit)} of memory are not enough: the smallest settings are {smallest.to_text()}; allow "
        f"{-(-smallest.expected // 10**6)}MB or choose a smaller model"
    )


def plan_checkpoint(
    name_or_path: str | Path | None,
    max_memory: int | str,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    quantize: str | None = None,
    video: bool = False,
    workload: Workload | None = None,
) -> MemoryPlan:
    """:func:`plan_memory` of a model by name; arguments as of :func:`instructseg.pretrained.load_pretrained`.

    Args:
        name_or_path, device, dtype, quantize: as there.
        max_memory: as of :func:`plan_memory`.
        video: whether videos are processed, whose frames are encoded together if faster.
        workload: to fit.

    Raises:
        FileNotFoundError, ValueError: as :func:`~instructseg.pretrained.load_pretrained` and
            :func:`plan_memory`.
    """
    target = choose_device(device)
    config = read_model_config(name_or_path)
    if quantize is not None:
        config.quantize = check_quantization(quantize)
    given = fastest_dtype(target, config.text_config.hidden_size) if dtype == "auto" else dtype
    kind = choose_dtype(given) if isinstance(given, str) else given
    asked = workload or Workload()
    return plan_memory(
        config,
        max_memory,
        target,
        asked,
        dtype=kind,
        chunk=gaining_chunk(config, target) if video else 1,
        spacing=spacing_of(asked.fps) if video else 0,
    )


def gaining_chunk(config: InstructSegConfig, device: torch.device) -> int:
    """Frames of a file to encode together; on a CPU a large one keeps it busy alone."""
    return CHUNK if config.image_size <= SMALL or device.type == "cuda" else 1


def parse_size(size: int | str) -> int:
    """Bytes of ``"6GB"`` (10^9), ``"6GiB"`` (2^30), ``"800M"`` or a number.

    Raises:
        ValueError: it is none of them, or nothing.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?)B?\s*", str(size).upper())
    if match is None or match[2] not in _UNITS or not float(match[1]):
        raise ValueError(f"'{size}' is no size of memory: write 6GB, 6GiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2]])


def resident_memory() -> int:
    """Resident memory of this program in bytes; 0 where the system does not report it (Linux does)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (no file of a disk)
            pages = int(file.read().split()[1])
    except OSError:
        return 0
    import mmap

    return pages * mmap.PAGESIZE


def activation_bytes(
    config: InstructSegConfig,
    dtype: torch.dtype,
    rows: int,
    frame_size: tuple[int, int] = (1080, 1920),
    references: int = REFERENCES,
    chunk: int = 1,
) -> dict[str, int]:
    """Peak bytes of each stage, including features kept for later stages.

    Args:
        config: of the model.
        dtype: of the values.
        rows: pairs of frame and instruction that are computed together.
        frame_size: height and width in pixels.
        references: frames beside the key frame.
        chunk: frames that are encoded together.
    """
    text, e = config.text_config, dtype.itemsize
    width, tokens = text.hidden_size, config.num_image_tokens
    seen = max(1, references) * config.ovp_queries if config.use_ovp else 0
    length = PROMPT_TOKENS + tokens + seen + config.num_queries
    cells = (config.image_size // 4) ** 2
    # frame features and perceived references stay while the later stages run
    kept = chunk * cells * (config.mask_dim + config.conv_dim // 2) * 4 + rows * seen * width * e
    pixels = frame_size[0] * frame_size[1]
    masks = rows * config.num_queries * cells * 4
    stages = {
        "vision tower": chunk * _tower(config, tokens) * e,
        "backbone": chunk * _trunk(config, config.image_size) * e,
        "pixel decoder": chunk * _pixel_decoder(config) * 4,
        "perceiver": rows * _perceiver(config, tokens) * e,
        "language model": rows * length * KINDS[text.model_type].widest(text) * e + rows * length**2 * 5,
        "mask decoder": masks + rows * config.num_queries * (cells // 4) * 9,
        # a winner per row; two queries per row: padded, enlarged, compared, and their probability
        "masks": masks + rows * pixels * (4 + 2 * 4 * 4),
    }
    return {name: size + kept for name, size in stages.items()}


def frame_bytes(
    config: InstructSegConfig, dtype: torch.dtype, instructions: int, frame_size: tuple[int, int] | None
) -> int:
    """Bytes kept per video frame: its tokens, perceived tokens of each instruction, and its pixels.

    Args:
        config: of the model.
        dtype: of the values.
        instructions: that are asked.
        frame_size: height and width in pixels; ``None`` where pixels lie in other memory.
    """
    perceived = instructions * config.ovp_queries if config.use_ovp else 0
    pixels = 3 * frame_size[0] * frame_size[1] if frame_size else 0
    return (config.num_image_tokens + perceived) * config.text_config.hidden_size * dtype.itemsize + pixels


def _tower(config: InstructSegConfig, tokens: int) -> int:
    """Values of the vision tower on one frame."""
    if config.vision_tower == "shared":
        return _trunk(config, config.clip_size)
    vision = config.vision_config
    return tokens * (6 * vision.hidden_size + 2 * vision.intermediate_size)


def _trunk(config: InstructSegConfig, size: int) -> int:
    """Values of the mask backbone on one image of ``size`` x ``size`` pixels."""
    return trunk_class(config.backbone_config.model_type).widest(config.backbone_config, size)


def _pixel_decoder(config: InstructSegConfig) -> int:
    """Values of the deformable attention (4 points, 3 levels, sampled and weighted) and of the finest maps."""
    tokens = sum((config.image_size // stride) ** 2 for stride in (8, 16, 32))
    return config.conv_dim * (2 * tokens * 12 + 3 * (config.image_size // 4) ** 2)


def _perceiver(config: InstructSegConfig, tokens: int) -> int:
    """Values of one reference frame and instruction in OVP."""
    if not config.use_ovp:
        return 0
    inner = config.ovp_heads * config.ovp_head_dim
    return (tokens + config.ovp_queries) * (3 * config.text_config.hidden_size + 3 * inner)
