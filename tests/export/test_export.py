"""Exported parts against the model, in onnxruntime and as programs of ``torch.export``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from instructseg.export import DESCRIPTION, PARTS, ExportedPart, build_parts, export_onnx
from instructseg.model import InstructSeg
from instructseg.model.instructseg import LanguageStates
from tests.model.conftest import TINY, tiny_model

SIZE = (64, 96)
Exported = Callable[[tuple[int, int]], tuple[Path, list[Path]]]
"""From a size to the folder and its files."""


def outputs_of(part: ExportedPart, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """What the part's module gives."""
    with torch.no_grad():
        found = part.module(*inputs.values())
    return list(found) if isinstance(found, tuple) else [found]


def other_rows(part: ExportedPart) -> dict[str, torch.Tensor]:
    """Its example with three rows, where rows are free."""
    inputs = {
        name: value[[0, 1, 0]] if part.dynamic.get(name) else value for name, value in part.inputs.items()
    }
    return {name: value if value.dtype == torch.bool else value + 0.1 for name, value in inputs.items()}


@pytest.fixture(scope="module")
def model() -> InstructSeg:
    return tiny_model(decoder_layers=2, vmtf_depth=1)  # the time of an export is that of its layers


def test_the_parts_together_are_the_model(model: InstructSeg) -> None:
    tower, branch, fusion, decoder = build_parts(model, (64, 96))
    clip, pixels = tower.inputs["clip_pixels"], branch.inputs["seg_pixels"]
    (tokens,) = outputs_of(tower, tower.inputs)
    *features, visual = outputs_of(branch, branch.inputs)
    text, mask, mask_tokens = fusion.inputs["text"], fusion.inputs["text_mask"], decoder.inputs["mask_tokens"]
    (classifier,) = outputs_of(fusion, {"text": text, "mask": mask, "visual": visual})
    given = [mask_tokens, classifier, *features]
    masks, scores = outputs_of(decoder, dict(zip(decoder.inputs, given, strict=True)))
    with torch.no_grad():
        frame = model.encode_frame(clip, pixels)
        states = LanguageStates(text, mask_tokens, text, mask)
        wanted = model.decode(frame, states, torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(tokens, frame.tokens)
    torch.testing.assert_close(masks, wanted.mask_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores, wanted.seg_logits, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def exported(model: InstructSeg, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every part in both forms, by size."""

    @cache
    def export(size: tuple[int, int]) -> tuple[Path, list[Path]]:
        pytest.importorskip("onnxscript")
        folder = tmp_path_factory.mktemp("exported")
        return folder, export_onnx(model, folder, size, programs=True)

    return export


@pytest.mark.parametrize("size", [SIZE, pytest.param((128, 64), marks=pytest.mark.slow)])
def test_onnxruntime_gives_the_same(model: InstructSeg, size: tuple[int, int], exported: Exported) -> None:
    runtime: Any = pytest.importorskip("onnxruntime")
    folder, files = exported(size)
    described = json.loads((folder / DESCRIPTION).read_text())
    assert [part["name"] for part in described["parts"]] == list(PARTS)
    assert {file.name for file in files} == {path.name for path in folder.iterdir()}
    for part, entry in zip(build_parts(model, size), described["parts"], strict=True):
        session = runtime.InferenceSession(folder / entry["file"], providers=["CPUExecutionProvider"])
        assert [given.name for given in session.get_inputs()] == [given["name"] for given in entry["inputs"]]
        assert [out.name for out in session.get_outputs()] == entry["outputs"]
        for inputs in (part.inputs, other_rows(part)):
            found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
            for value, wanted in zip(found, outputs_of(part, inputs), strict=True):
                np.testing.assert_allclose(value, wanted.numpy(), atol=1e-3, rtol=1e-3, err_msg=part.name)


def test_programs_are_written_and_run(model: InstructSeg, exported: Exported) -> None:
    program = torch.export.load(exported(SIZE)[0] / "mask_decoder.pt2").module()
    part = build_parts(model, SIZE)[-1]
    for inputs in (part.inputs, other_rows(part)):
        with torch.no_grad():
            found = program(*inputs.values())
        for value, wanted in zip(found, outputs_of(part, inputs), strict=True):
            torch.testing.assert_close(value, wanted)


def test_parts_are_exported_alone_and_without_programs(model: InstructSeg, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    export_onnx(model, tmp_path, (64, 64), ["vision_tower"])
    assert {path.name for path in tmp_path.iterdir()} == {"vision_tower.onnx", DESCRIPTION}


def test_invalid_exports_are_refused(
    model: InstructSeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="sides that are multiples of 32, not 65x64"):
        build_parts(model, (65, 64))
    placed = tiny_model(backbone_config={**TINY["backbone_config"], "use_absolute_embeddings": True})
    with pytest.raises(ValueError, match="a table of positions for 64x64, not 64x96: leave the size out"):
        build_parts(placed, (64, 96))
    assert len(build_parts(placed, (64, 64))) == len(PARTS)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install onnx onnxscript"):
        export_onnx(model, tmp_path)
    monkeypatch.undo()
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match="there is no part 'language': use vision_tower"):
        export_onnx(model, tmp_path, parts=["language"])
    assert not list(tmp_path.iterdir())
