"""Swin and the pixel decoder by torch, ONNX Runtime and OpenVINO, at the released size.

    OMP_NUM_THREADS=1 python -m perf.engines --folder exported --json perf/results/engines.json

Random weights and pixels of 1024 x 1024; processor seconds with one thread, medians, cases taking turns. The
deformable attention keeps float32 in torch. Needs ``onnx``, ``onnxscript``, ``onnxruntime`` and ``openvino``.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from instructseg.export.onnx_parts import OPSET
from instructseg.model import preset
from instructseg.model.backbones import LEVELS, trunk_class
from instructseg.model.pixel_decoder import PixelDecoder
from perf.workload import in_turns, save

Arrays = list[np.ndarray]


class Trunk(nn.Module):
    """Swin, its maps in order."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """``float[1, 3, H, W]`` to the four maps."""
        return tuple(self.trunk(pixels).values())


class Decoder(nn.Module):
    """The pixel decoder on maps in order."""

    def __init__(self, decoder: PixelDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, *maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The four maps to three levels and the mask features."""
        levels, features = self.decoder(dict(zip(LEVELS, maps, strict=True)))
        return (*levels, features)


def parts() -> dict[str, nn.Module]:
    """Both, at the released size, with random weights that keep the spread of what goes through."""
    config: Any = preset("instructseg-3b")
    trunk = trunk_class("swin")(config.backbone_config)
    sizes = (config.conv_dim, config.mask_dim, config.pixel_decoder_layers)
    layers = (config.decoder_heads, config.pixel_decoder_ff, config.lateral)
    found = {"swin": Trunk(trunk), "pixel decoder": Decoder(PixelDecoder(trunk.dims, *sizes, *layers))}
    for name, values in [pair for one in found.values() for pair in one.named_parameters()]:
        if values.ndim > 1 and "norm" not in name:
            nn.init.normal_(values, std=values[0].numel() ** -0.5)
    return {name: one.eval() for name, one in found.items()}


def exported(module: nn.Module, inputs: tuple[torch.Tensor, ...], file: Path) -> float:
    """Writes a part as ONNX where the file is missing; processor seconds, 0 if it is there."""
    if file.exists():
        return 0.0
    start = time.process_time()
    with sdpa_kernel(SDPBackend.MATH):
        program: Any = torch.onnx.export(
            torch.export.export(module, inputs, strict=False), dynamo=True, verbose=False, opset_version=OPSET
        )
    program.save(file)
    return time.process_time() - start


def runners(module: nn.Module, inputs: tuple[torch.Tensor, ...], file: Path) -> dict[str, Callable[[], Arrays]]:
    """What calls each engine on the same inputs; Swin in bfloat16 by torch, too."""
    import onnxruntime
    import openvino

    given = [one.numpy() for one in inputs]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def by_torch(part: nn.Module, kind: torch.dtype) -> Arrays:
        return [one.float().numpy() for one in part(*(values.to(kind) for values in inputs))]

    def by_openvino(hint: str) -> Callable[[], Arrays]:
        options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(file, "CPU", options).create_infer_request()
        return lambda: list(request.infer(given).values())

    found: dict[str, Callable[[], Arrays]] = {"torch": lambda: by_torch(module, torch.float32)}
    if isinstance(module, Trunk):
        half = copy.deepcopy(module).bfloat16()
        found["torch bf16"] = lambda: by_torch(half, torch.bfloat16)
    found["onnxruntime"] = lambda: session.run(None, dict(zip(names, given, strict=True)))
    return {**found, "openvino": by_openvino("f32"), "openvino bf16": by_openvino("bf16")}


def differences(cases: Mapping[str, Callable[[], Arrays]]) -> dict[str, float]:
    """Largest relative error (2-norm of the difference over that of torch's map) of each engine."""
    found = {name: case() for name, case in cases.items()}
    norm = np.linalg.norm
    return {
        name: max(
            float(norm(a - b) / norm(b)) for a, b in zip(arrays, found["torch"], strict=True)
        )
        for name, arrays in found.items()
    }  # fmt: skip


def engine_rows(values: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table of the result: seconds, and the time of torch in the same type over it."""
    lines = []
    for row in values["rows"]:
        for name, spent in row["s"].items():
            base = row["s"].get("torch bf16" if "bf16" in name else "torch", row["s"]["torch"])
            error = f"{100 * row['error'][name]:.4f} %"
            lines.append([f"{row['part']}, {name}", f"{spent:.2f}", f"{base / spent:.2f}", error])
    return ["part, engine", "s", "ratio to torch", "error"], lines


def main() -> None:
    """Measures both parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the ONNX files, kept for the next run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    options.folder.mkdir(parents=True, exist_ok=True)
    rows, inputs = [], (torch.randn(1, 3, 1024, 1024),)
    with torch.inference_mode():
        for name, module in parts().items():
            file = options.folder / f"{name.replace(' ', '_')}.onnx"
            found = module(*inputs)  # before the export: tables that are kept must be real ones
            spent = exported(module, inputs, file)
            cases = runners(module, inputs, file)
            errors = differences(cases)
            taken = in_turns(cases, options.repeats, warm=False)
            row = {"part": name, "export_s": spent, "bytes": file.stat().st_size, "s": taken, "error": errors}
            rows.append(row)
            print(row, flush=True)
            inputs = found
    save(options.json, {"repeats": options.repeats, "rows": rows})


if __name__ == "__main__":
    main()
