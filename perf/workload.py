"""What the benchmarks share: models of three sizes, pictures, clocks, and how results are kept.

Times are processor seconds of this process (``time.process_time``) with one thread: on a machine that does
other work too they are fairer than the clock on the wall, and on an idle one they are the same.
Cases that are compared take turns within one run.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import initialization

from instructseg.files import write_json_atomic
from instructseg.hub import bundled_folder, is_bundled
from instructseg.model import InstructSeg, InstructSegConfig, preset
from instructseg.processing import InstructSegProcessor
from instructseg.processing.processor_config import processor_config
from recipes.nano.language.vocabulary import vocabulary_corpus
from recipes.nano.language.word_tokenizer import build_tokenizer

FULL_DEPTHS = {
    "llm": 32,
    "siglip": 26,
    "swin": (2, 2, 18, 2),
    "pixel_decoder": 6,
    "mask_decoder": 9,
    "ovp": 3,
    "vmtf": 3,
}
"""Layers that run in the released model (SigLIP has 27, the last is not used)."""
WIDTH_DEPTHS = {
    "llm": 4,
    "siglip": 3,
    "swin": (1, 1, 1, 1),
    "pixel_decoder": 1,
    "mask_decoder": 1,
    "ovp": 1,
    "vmtf": 1,
}
"""About an eighth of them, at full width; Swin has a sixth, as no stage can be empty."""
INSTRUCTIONS = (
    "the red circle",
    "the blue square moving to the left",
    "the largest green triangle",
    "the yellow circle",
    "the small red square",
    "the white circle moving up",
    "the blue triangle",
    "the green circle behind the square",
    "the purple square",
    "the smallest circle moving right",
)
SIZES = ("nano", "width", "full")
_CHUNK, _LARGE = 2**20, 1000


def configuration(size: str, depths: Mapping[str, Any] | None = None) -> InstructSegConfig:
    """``nano``, ``full``, or ``width``: the released widths and picture sizes with few layers.

    Args:
        size: one of :data:`SIZES`.
        depths: of ``width``; default :data:`WIDTH_DEPTHS`. Its output table shrinks with the language model.
    """
    if size != "width":
        return preset({"nano": "nano", "full": "instructseg-3b"}[size])
    layers = {**WIDTH_DEPTHS, **(depths or {})}
    full = preset("instructseg-3b")
    parts = {
        name: getattr(full, name).to_dict() for name in ("vision_config", "text_config", "backbone_config")
    }
    parts["vision_config"]["num_hidden_layers"] = layers["siglip"] + 1
    parts["text_config"]["num_hidden_layers"] = layers["llm"]
    parts["backbone_config"]["depths"] = list(layers["swin"])
    for derived in (
        "num_layers",
        "stage_names",
        "out_features",
        "out_indices",
        "_out_features",
        "_out_indices",
    ):
        parts["backbone_config"].pop(derived, None)
    return preset(
        "instructseg-3b",
        **parts,
        lm_head_size=full.lm_head_size * layers["llm"] // FULL_DEPTHS["llm"],
        ovp_depth=layers["ovp"],
        vmtf_depth=layers["vmtf"],
        pixel_decoder_layers=layers["pixel_decoder"],
        decoder_layers=layers["mask_decoder"],
    )


def build(
    config: InstructSegConfig,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[InstructSeg, InstructSegProcessor]:
    """A model with random weights and its processor; large ones are filled from one drawn block.

    Weights are made on ``device``; those that a loaded model keeps in float32 stay so, and so do buffers.
    """
    torch.manual_seed(seed)
    large = config.text_config.hidden_size >= _LARGE
    with torch.device(device), initialization.no_init_weights() if large else nullcontext():  # drawing is slow
        model = InstructSeg(config).eval().to(device)  # what torch.Tensor makes is on the CPU in any case
        block = torch.randn(_CHUNK)
    kept = tuple(InstructSeg._keep_in_fp32_modules_strict or ())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(kept):
                parameter.data = parameter.data.to(dtype)
            if parameter.ndim == 1 or "norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            scale = (parameter[0].numel()) ** -0.5
            for part in parameter.view(-1).split(_CHUNK):
                torch.mul(block[: len(part)], scale, out=part)
    words = "A chat between a curious user and an artificial intelligence assistant. "
    system = words if large else ""
    tokenizer = build_tokenizer(
        [*vocabulary_corpus(), words, *INSTRUCTIONS], min(config.text_config.vocab_size, 1024)
    )
    return model, InstructSegProcessor(tokenizer, processor_config(config, system=system))


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    """``uint8[H, W, 3]`` each: smooth random colours that drift."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, height // 16 + count, width // 16 + count))).float()
    drawn = torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bilinear")[0].permute(1, 2, 0)
    whole = drawn.to(torch.uint8).numpy()
    return [np.ascontiguousarray(whole[4 * t : 4 * t + height, 4 * t : 4 * t + width]) for t in range(count)]


class Clock:
    """Processor seconds by stage.

    Example::

        clock = Clock()
        with clock("swin"):
            ...
        clock.seconds["swin"], clock.calls["swin"]
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Adds what the block takes to ``stage``."""
        start = time.process_time()
        yield
        self.seconds[stage] += time.process_time() - start
        self.calls[stage] += 1


def seconds(case: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    case()
    return time.process_time() - start


def in_turns(cases: Mapping[str, Callable[[], object]], repeats: int, warm: bool = True) -> dict[str, float]:
    """The median processor seconds of each case, cases taking turns.

    Args:
        cases: what to call, by name.
        repeats: calls that are timed, at least 1.
        warm: whether each is called once before; not worth it for calls of many seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + warm):
        for name, case in cases.items():
            spent = seconds(case)
            if turn >= warm:
                taken[name].append(spent)
    return {name: statistics.median(values) for name, values in taken.items()}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    with Path("/proc/cpuinfo").open() as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    return {
        "processor": model or platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def weights_digest(name: str | Path = "nano") -> str:
    """The start of the SHA-256 of a model's weights, by which a result says whose it is.

    Args:
        name: of the model: bundled, or a folder. A repository of the hub is named instead.
    """
    folder = bundled_folder(name) if is_bundled(name) else Path(name)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return str(name)
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.read_bytes())
    return whole.hexdigest()[:12]


def save(path: Path | None, values: Mapping[str, Any]) -> None:
    """Writes a result with the machine's data as JSON, or prints it where no file is asked for."""
    whole = {"machine": machine(), **values}
    if path is None:
        print(json.dumps(whole, indent=2))
    else:
        write_json_atomic(path, whole, indent=2)
