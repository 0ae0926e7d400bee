"""The folder in which the blocks of README and docs run: small inputs under the names that the pages use."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from instructseg.cli import demo
from instructseg.hub import DEMO_IMAGE, DEMO_VIDEO, DRAWN_IMAGE, DRAWN_MODEL
from instructseg.media import VideoWriter, open_video
from recipes.nano.layouts.copies import write_copies
from tests.convert.test_mask2former import detectron2, write
from tests.inference.conftest import read_once
from tests.pages import ROOT

GOLDEN = ROOT / "tests" / "data" / "golden" / "fixture_a"
LANGUAGE_SIDE = (
    "model.layers",
    "model.embed",
    "model.final",
    "lm_head",
    "model.vision_tower.",
    "model.mm_proj",
)
"""Tensors of an official checkpoint that come from Mipha."""
FRAMES = 4
"""Of the video that the pages segment."""


def write_short(file: Path) -> None:
    """Writes the first frames of the shipped video."""
    video = open_video(DEMO_VIDEO)
    frames = list(islice(video, FRAMES))
    with VideoWriter(file, video.fps or 10.0, frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(frame)


def write_checkpoints(folder: Path) -> None:
    """Writes an official checkpoint and the two that training starts from, as small as the recorded tensors."""
    official, mipha = folder / "InstructSeg-official", folder / "Mipha-3B"
    tensors = load_file(GOLDEN / "weights.safetensors")
    for place, kept in (
        (official, tensors),
        (mipha, {k: v for k, v in tensors.items() if k.startswith(LANGUAGE_SIDE)}),
    ):
        place.mkdir()
        save_file(kept, place / "model.safetensors")
        shutil.copyfile(GOLDEN / "hf_config.json", place / "config.json")
        (place / "tokenizer_config.json").write_text(json.dumps({}))
    write(detectron2(tensors), folder / "model_final.pkl")


@pytest.fixture(scope="session")
def page_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no block of a page changes."""
    folder = tmp_path_factory.mktemp("pages")
    copies = write_copies(folder / "data")
    shutil.copyfile(DEMO_IMAGE, folder / "photo.jpg")
    shutil.copyfile(DRAWN_IMAGE, folder / "drawing.png")
    write_short(folder / "clip.mp4")
    (folder / "demo").mkdir()
    shutil.copyfile(folder / "clip.mp4", folder / "demo" / DEMO_VIDEO.name)
    write_checkpoints(folder)
    assert copies
    return folder


@pytest.fixture
def page_folder(
    page_inputs: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working directory with everything that the pages name."""
    monkeypatch.chdir(tmp_path)
    read_once(monkeypatch)
    for source in (*page_inputs.iterdir(), *(page_inputs / "data").iterdir()):
        (tmp_path / source.name).symlink_to(source)
    links = {
        "RES": page_inputs / "data/refer_seg/RES",
        "coco/train2014": page_inputs / "data/refer_seg/images/mscoco/images/train2014",
        "my_photos": page_inputs / "data/custom-images",
        # weights that are not here; a page that converts them needs their layout
        "weic22/InstructSeg": page_inputs / "InstructSeg-official"
        if "checkpoints.md" in request.node.name
        else DRAWN_MODEL,
    }
    for name, target in links.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(target)
    (tmp_path / "configs").mkdir()
    for source in (ROOT / "configs").iterdir():
        (tmp_path / "configs" / source.name).symlink_to(source)
    # the whole one is run by ``.ci/run``
    monkeypatch.setattr(demo, "DEMO_VIDEO", page_inputs / "demo" / DEMO_VIDEO.name)
    capture = cv2.VideoCapture  # a camera is a video that ends
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture(str(page_inputs / "clip.mp4")))
    monkeypatch.setattr(cv2, "imshow", lambda name, image: np.asarray(image))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: -1)
    torch.manual_seed(0)
    return tmp_path
