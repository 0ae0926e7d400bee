"""Export of the parts around the language model as ONNX files and ``torch.export`` programs.

=================  ======================================  ================================================
part               inputs                                  outputs
=================  ======================================  ================================================
``vision_tower``   ``clip_pixels``                         ``tokens``
``mask_branch``    ``seg_pixels``                          ``level_32``, ``level_16``, ``level_8``,
                                                           ``mask_features`` and, with fusion, ``visual``
``text_fusion``    ``text``, ``text_mask``, ``visual``     ``classifier``
``mask_decoder``   ``mask_tokens``, ``classifier``, the    ``mask_logits``, ``seg_logits``
                   ``mask_branch`` gives
=================  ======================================  ================================================

Letters: B rows, T words of the instruction, D width of the language model, Q queries, C channels.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from instructseg.files import atomic_path, write_json_atomic
from instructseg.model import InstructSeg
from instructseg.model.vision_towers import SharedTower

DESCRIPTION = "parts.json"
"""Name of the file that describes the others."""
OPSET = 20
"""ONNX operator set; ``GridSample`` of the deformable attention needs at least 16."""
PARTS = ("vision_tower", "mask_branch", "text_fusion", "mask_decoder")
"""Names of the parts, in the order of use."""
_EXAMPLE_ROWS, _EXAMPLE_WORDS = 2, 5
_SIDE = 32


@dataclass(frozen=True, eq=False)
class ExportedPart:
    """A module with example inputs.

    Attributes:
        name: of :data:`PARTS`.
        module: takes the inputs in order, returns the outputs in order.
        inputs: name to example.
        dynamic: input name to its free axes, each ``{axis: letter}``.
    """

    name: str
    module: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


class VisionTower(nn.Module):
    """The tower and the projector: ``float[1, 3, S, S]`` to ``float[1, P, D]``."""

    def __init__(self, model: InstructSeg) -> None:
        super().__init__()
        self.vision, self.projector = model.vision, model.projector
        self.shared = [model.backbone] if isinstance(model.vision, SharedTower) else []

    def forward(self, clip_pixels: torch.Tensor) -> torch.Tensor:
        """One frame of the language side."""
        return self.projector(self.vision(clip_pixels, *self.shared))


class MaskBranch(nn.Module):
    """Backbone, pixel decoder and the visual side of text fusion: ``float[1, 3, H, W]`` to its features."""

    def __init__(self, model: InstructSeg) -> None:
        super().__init__()
        self.backbone, self.pixel_decoder, self.vmtf = model.backbone, model.pixel_decoder, model.vmtf

    def forward(self, seg_pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One key frame."""
        maps = self.backbone(seg_pixels)
        levels, mask_features = self.pixel_decoder(maps)
        visual = self.vmtf.encode_visual(maps)
        features = (*levels, mask_features)
        return features if visual is None else (*features, visual)


class Fusion(nn.Module):
    """Text to classifier: ``float[B, T, D]``, ``bool[B, T]`` and, with fusion, ``float[1, S, V]``."""

    def __init__(self, model: InstructSeg) -> None:
        super().__init__()
        self.vmtf = model.vmtf

    def forward(
        self, text: torch.Tensor, text_mask: torch.Tensor, visual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``float[B, C]``."""
        if visual is not None:
            visual = visual.expand(text.shape[0], -1, -1)  # len() would fix the rows
        return self.vmtf(text, text_mask, visual)


class Decoder(nn.Module):
    """Mask tokens ``float[B, Q, D]`` and classifier ``float[B, C]`` on one key frame's features."""

    def __init__(self, model: InstructSeg) -> None:
        super().__init__()
        self.mask_decoder = model.mask_decoder

    def forward(
        self,
        mask_tokens: torch.Tensor,
        classifier: torch.Tensor,
        level_32: torch.Tensor,
        level_16: torch.Tensor,
        level_8: torch.Tensor,
        mask_features: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``float[B, Q, H/4, W/4]`` and ``float[B, Q]``, both logits."""
        image_index = torch.zeros(mask_tokens.shape[0], dtype=torch.int64, device=mask_tokens.device)
        levels = (level_32, level_16, level_8)
        return self.mask_decoder(mask_tokens, classifier, levels, mask_features, image_index)[-1]


@torch.no_grad()
def build_parts(model: InstructSeg, size: tuple[int, int]) -> list[ExportedPart]:
    """The parts of a float32 model on a CPU.

    Args:
        model: with any language model; only its width counts.
        size: height and width of the mask branch's input in pixels; fixed in the exported files.

    Raises:
        ValueError: a side is no multiple of 32, or not that of the backbone's table of positions.
    """
    if size[0] % _SIDE or size[1] % _SIDE or min(size) < _SIDE:
        raise ValueError(f"the mask branch takes sides that are multiples of {_SIDE}, not {size[0]}x{size[1]}")
    config: Any = model.config
    side = getattr(config.backbone_config, "image_size", None)
    if getattr(config.backbone_config, "use_absolute_embeddings", False) and size != (side, side):
        raise ValueError(
            f"this backbone has a table of positions for {side}x{side}, not {size[0]}x{size[1]}: "
            "leave the size out"
        )
    width, clip = config.text_config.hidden_size, config.clip_size
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tower = ExportedPart(
        "vision_tower", VisionTower(model), {"clip_pixels": noise(1, 3, clip, clip)}, ("tokens",), {}
    )
    features = ("level_32", "level_16", "level_8", "mask_features", "visual")
    branch, pixels = MaskBranch(model), noise(1, 3, *size)
    found = dict(zip(features, branch(pixels), strict=False))
    mask_branch = ExportedPart("mask_branch", branch, {"seg_pixels": pixels}, tuple(found), {})
    rows, words = _EXAMPLE_ROWS, _EXAMPLE_WORDS
    mask = torch.ones(rows, words, dtype=torch.bool)
    mask[-1, -2:] = False
    text = {"text": noise(rows, words, width), "text_mask": mask}
    visual = {name: found.pop(name) for name in ("visual",) if name in found}
    free = {"text": {0: "B", 1: "T"}, "text_mask": {0: "B", 1: "T"}}
    fusion = ExportedPart("text_fusion", Fusion(model), {**text, **visual}, ("classifier",), free)
    given = {
        "mask_tokens": noise(rows, config.num_queries, width),
        "classifier": noise(rows, config.decoder_dim),
    }
    free = {"mask_tokens": {0: "B"}, "classifier": {0: "B"}}
    decoder = ExportedPart(
        "mask_decoder", Decoder(model), {**given, **found}, ("mask_logits", "seg_logits"), free
    )
    return [tower, mask_branch, fusion, decoder]


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
        parts: names of :data:`PARTS`.
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


def trace(part: ExportedPart) -> torch.export.ExportedProgram:
    """A part as a program of ``torch.export``; axes that :class:`ExportedPart` names are free."""
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


def _write(part: ExportedPart, folder: Path, programs: bool) -> list[Path]:
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


def _description(part: ExportedPart) -> dict[str, Any]:
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
