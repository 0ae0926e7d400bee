"""What lies between an upload and the worker: files are deleted, faults keep their status."""

from __future__ import annotations

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from instructseg.prediction import FrameResult
from instructseg.serve.desk import Desk, Refusal
from instructseg.serve.limits import Limits
from tests.serve.conftest import png


def opened(predictors: Any, limits: Limits | None = None) -> Desk:
    desk = Desk("x", lambda: predictors, limits or Limits())
    assert desk.state() == "loading"
    desk.open()
    while desk.state() == "loading":
        pass
    return desk


def files_of(desk: Desk) -> list[Path]:
    assert desk._folder is not None
    return list(Path(desk._folder.name).iterdir())


def test_uploads_are_deleted_whatever_becomes_of_them(predictors: Any, video: Path) -> None:
    desk = opened(predictors)

    async def use() -> None:
        image, found = await desk.segment(BytesIO(png(0)), "a.png", ["the red circle"], "auto", 0.0)
        assert image.shape == (40, 56, 3) and found[0].found
        with pytest.raises(Refusal, match="upload is") as caught:
            await desk.segment(BytesIO(b"x"), "a.p/../../n", ["a"], "res", None)
        assert caught.value.status == 422
        items = desk.play(BytesIO(video.read_bytes()), "clip.mp4", ["the red circle"], 0.0, 2)
        got = [item async for item in items]
        assert got[-1] == 5 and sum(isinstance(item, FrameResult) for item in got) == 5
        left = desk.play(BytesIO(video.read_bytes()), "clip.mp4", ["the red circle"], None, 1)
        await anext(left)
        await left.aclose()  # type: ignore[attr-defined]  # a client that is gone

    asyncio.run(use())
    assert files_of(desk) == []
    desk.close()
    assert desk._folder is not None and not Path(desk._folder.name).exists()


def test_equal_images_have_one_digest(predictors: Any, tmp_path: Path) -> None:
    desk = Desk("x", lambda: predictors, Limits())
    digests = []
    for name, seed, size in (("a", 0, (40, 56)), ("b", 0, (40, 56)), ("c", 1, (40, 56)), ("d", 0, (56, 40))):
        path = tmp_path / f"{name}.png"
        path.write_bytes(png(seed, *size))
        digests.append(desk._read(path)[1])
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_desk_without_a_model_refuses(predictors: Any) -> None:
    desk = Desk("x", lambda: predictors, Limits())
    with pytest.raises(Refusal, match="no model: loading") as caught:
        desk.worker()
    assert caught.value.status == 503 and desk.waiting == 0
    desk.close()
