"""A service with a nano model of random weights, and files to send to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from instructseg.inference import ImagePredictor, VideoPredictor
from instructseg.media import VideoWriter
from instructseg.model import InstructSeg
from instructseg.processing import InstructSegProcessor
from instructseg.serve.service import create_service
from tests.inference.conftest import nano

__all__ = ["nano"]
Nano = tuple[InstructSeg, InstructSegProcessor]


@pytest.fixture
def predictors(nano: Nano) -> tuple[ImagePredictor, VideoPredictor]:
    return ImagePredictor(*nano), VideoPredictor(*nano)


def image(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(seed: int, height: int = 40, width: int = 56) -> bytes:
    """A file of :func:`image`."""
    file = BytesIO()
    Image.fromarray(image(seed, height, width)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with VideoWriter(path, 8, (40, 56)) as writer:
        for seed in range(5):
            writer.write(image(seed))
    return path


@pytest.fixture
def client(predictors: Any) -> Iterator[Any]:
    """A client of a service that has its model."""
    with TestClient(create_service("random", lambda: predictors)) as one:
        wait_until_ready(one)
        yield one


def wait_until_ready(client: Any) -> None:
    """Waits for the model, which is loaded on another thread."""
    for _ in range(600):
        if client.get("/ready").status_code == 200:
            return
        time.sleep(0.05)
    raise AssertionError(client.get("/ready").text)
