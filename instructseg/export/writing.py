"""Parts written as ``.onnx`` and ``.pt2`` files, with a JSON file that says what goes in and out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from instructseg.export.parts import PARTS, Part, build_parts
from instructseg.files import atomic_path, write_json_atomic
from instructseg.model import InstructSeg

DESCRIPTION = "parts.json"
"""Name of the file that describes the others."""
OPSET = 20
"""ONNX operator set; ``GridSample`` of the deformable attention needs at least 16."""


def export_onnx(
    model: InstructSeg,
    folder: str | Path,
    size: tuple[int, int] | None = None,
    parts: Sequence[str] = PARTS,
    programs: bool = False,
) -> list[Path]:
    """Writes parts of a model as ONNX files, and :data:`DESCRIPTION`.

    Args:
        model: in float32, on a CPU.
        folder: is made where it is missing; files of the same names are replaced.
        size: height and width of the mask branch's input in pixels, fixed in the files; ``None`` for the
            padded square that the model was trained on.
        parts: names of :data:`~instructseg.export.parts.PARTS`.
        programs: whether ``.pt2`` files of ``torch.export`` are written too.

    Returns:
        the files.

    Raises:
        ImportError: the extra ``onnx`` is not installed.
        ValueError: an unknown part, a side that is no multiple of 32, or a model in another type.
    """
    _require_onnx()
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise ValueError(f"there is no part '{unknown[0]}': use {', '.join(PARTS)}")
    if model.dtype != torch.float32 or model.device.type != "cpu":
        raise ValueError(f"export needs float32 on cpu, not {model.dtype} on {model.device}: load it so")
    side = model.config.image_size
    files, described = [], []
    for part in build_parts(model.eval(), size or (side, side)):
        if part.name in parts:
            files += _write(part, Path(folder), programs)
            described.append(_description(part))
    write_json_atomic(Path(folder) / DESCRIPTION, {"opset": OPSET, "parts": described}, indent=2)
    return [*files, Path(folder) / DESCRIPTION]


def trace(part: Part) -> torch.export.ExportedProgram:
    """A part as a program of ``torch.export``; axes that :class:`Part` names are free."""
    free = {letter: torch.export.Dim(letter, min=1, max=4096) for letter in ("B", "T")}
    shapes = tuple(
        {axis: free[letter] for axis, letter in part.dynamic.get(name, {}).items()} or None
        for name in part.inputs
    )
    # fused attention lays its result out otherwise than its decomposition, which fixed views do not survive
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        return torch.export.export(
            part.module, tuple(part.inputs.values()), dynamic_shapes=shapes, strict=False
        )


def _write(part: Part, folder: Path, programs: bool) -> list[Path]:
    """The files of one part."""
    program = trace(part)
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # of deprecated names inside the exporter
            converted: Any = torch.onnx.export(
                program, dynamo=True, verbose=False, opset_version=OPSET,
                input_names=list(part.inputs), output_names=list(part.outputs),
            )  # fmt: skip
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    files = [folder / f"{part.name}.onnx"]
    with atomic_path(files[0]) as temporary:
        converted.save(temporary)
    if programs:
        files.append(folder / f"{part.name}.pt2")
        with atomic_path(files[1]) as temporary:
            torch.export.save(program, temporary)
    return files


def _description(part: Part) -> dict[str, Any]:
    """Names, shapes and types; a free axis is a letter."""
    inputs = []
    for name, value in part.inputs.items():
        free = part.dynamic.get(name, {})
        shape = [free.get(axis, side) for axis, side in enumerate(value.shape)]
        inputs.append({"name": name, "shape": shape, "type": str(value.dtype).removeprefix("torch.")})
    return {"name": part.name, "file": f"{part.name}.onnx", "inputs": inputs, "outputs": list(part.outputs)}


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("export needs extra packages: pip install onnx onnxscript") from error
