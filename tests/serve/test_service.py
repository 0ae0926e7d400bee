"""The service over HTTP: right answers equal those of the predictors, wrong requests are told in a sentence."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from instructseg.masks import rle_to_mask
from instructseg.serve.limits import Limits
from instructseg.serve.service import create_service
from tests.serve.conftest import image, png, wait_until_ready


def events(text: str) -> list[tuple[str, Any]]:
    """Events of a stream."""
    found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", text)
    assert text == "".join(f"event: {name}\ndata: {data}\n\n" for name, data in found)
    return [(name, json.loads(data)) for name, data in found]


def test_an_image_is_answered_as_by_the_predictor(client: Any, predictors: Any) -> None:
    words = ["the red circle", "big blue square"]
    reply = client.post("/v1/segment", files={"file": png(3)}, data={"instructions": words, "threshold": 0})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert (body["width"], body["height"]) == (56, 40)
    for found, right in zip(body["results"], predictors[0].predict(image(3), words, threshold=0), strict=True):
        assert found["system"] == "InstructSeg" and found["drawn"] is None
        assert found["instruction"] == right.instruction and found["score"] == pytest.approx(
            right.score, abs=1e-4
        )
        assert (rle_to_mask(found["rle"]) != right.mask).mean() < 0.01 and found["polygons"] is None
    told = {"instructions": words, "threshold": 1, "polygons": True, "task": "reason_seg"}
    for found in client.post("/v1/segment", files={"file": png(3)}, data=told).json()["results"]:
        assert not found["found"] and found["area"] == 0 and found["polygons"] == []


def test_a_mask_is_a_palette_image(client: Any, predictors: Any) -> None:
    words = ["the red circle", "big blue square"]
    reply = client.post("/v1/mask", files={"file": png(3)}, data={"instructions": words, "threshold": 0})
    assert reply.headers["content-type"] == "image/png"
    ids = np.asarray(Image.open(BytesIO(reply.content)))
    expected = np.zeros((40, 56), np.uint8)
    found = predictors[0].predict(image(3), words, threshold=0)
    for place in np.argsort([one.score for one in found]):
        expected[found[place].mask] = place + 1
    assert (ids != expected).mean() < 0.01


def test_a_video_comes_frame_by_frame(client: Any, predictors: Any, video: Path) -> None:
    data = {"instructions": "the red circle", "threshold": 0}
    with client.stream(
        "POST", "/v1/video", files={"file": ("clip.mp4", video.read_bytes())}, data=data
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        got = events(reply.read().decode())
    assert [name for name, _ in got] == ["start", *["frame"] * 5, "end"]
    assert got[0][1] == {"width": 56, "height": 40, "fps": 8.0, "frames": 5} and got[-1][1] == {"frames": 5}
    for (_, body), right in zip(
        got[1:-1], predictors[1].predict(video, "the red circle", threshold=0), strict=True
    ):
        assert (body["index"], body["time"]) == (right.index, right.time)
        assert (rle_to_mask(body["results"][0]["rle"]) != right.predictions[0].mask).mean() < 0.01


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/mask", "/v1/video"])
@pytest.mark.parametrize(
    ("content", "data", "said"),
    [
        (png(0), {}, "instructions: Field required"),
        (None, {"instructions": "a"}, "file: Field required"),
        (png(0), {"instructions": "a", "threshold": "2"}, "threshold"),
        (png(0), {"instructions": ["a"] * 17}, "at most 16"),
        (png(0), {"instructions": "a" * 501}, "at most 500"),
        (png(0), {"instructions": "  "}, "an instruction is empty"),
        (b"", {"instructions": "a"}, "empty"),
        (b"no image", {"instructions": "a"}, "text"),
        (png(0)[:300], {"instructions": "a"}, "upload"),
    ],
)
def test_a_wrong_request_is_told_in_a_sentence(
    client: Any, path: str, content: bytes | None, data: dict[str, Any], said: str
) -> None:
    reply = client.post(path, files={} if content is None else {"file": content}, data=data)
    assert reply.status_code == 422, reply.text
    text = reply.json()["detail"]
    assert said in text and "\n" not in text and "/tmp" not in text


def test_a_question_about_a_video_is_refused(client: Any, video: Path) -> None:
    reply = client.post(
        "/v1/video", files={"file": video.read_bytes()}, data={"instructions": "how many are there?"}
    )
    assert reply.status_code == 422 and "asks for words" in reply.json()["detail"]


def test_other_doors(client: Any) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    model = client.get("/v1/model").json()
    assert model["system"] == "InstructSeg" and model["videos"] and model["presence_threshold"] is not None
    assert model["name"] == "random" and "res" in model["tasks"] and model["limits"]["instructions"] == 16
    assert "swagger" in client.get("/docs").text
    assert set(client.get("/openapi.json").json()["paths"]) == {
        *("/health", "/ready", "/metrics", "/v1/model", "/v1/segment", "/v1/mask", "/v1/drawn", "/v1/video")
    }
    client.get("/nothing/here")
    text = client.get("/metrics").text
    assert 'path="/health",status="200"' in text and 'path="other",status="404"' in text
    assert "instructseg_ready 1" in text and "nothing" not in text


def test_without_a_model_the_server_says_so() -> None:
    def load() -> Any:
        raise FileNotFoundError("no folder 'x'")

    with TestClient(create_service("x", load)) as client:
        for _ in range(100):
            if "no folder" in client.get("/ready").text:
                break
        for reply in (
            client.get("/ready"),
            client.post("/v1/segment", files={"file": b"x"}, data={"instructions": "a"}),
        ):
            assert reply.status_code == 503 and "no model: no folder 'x'" in reply.json()["detail"]
            assert reply.headers["retry-after"] == "5"
        assert client.get("/health").status_code == 200


def test_token_size_time_and_busy(predictors: Any, monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
    limits = Limits(upload=20_000, seconds=1, video_seconds=1, waiting=1, videos=1)
    with TestClient(create_service("x", lambda: predictors, limits, "secret")) as client:
        wait_until_ready(client)
        assert client.get("/v1/model").status_code == 401
        client.headers["Authorization"] = "Bearer secret"
        files, data = {"file": png(0)}, {"instructions": "a"}
        assert client.post("/v1/segment", files=files, data=data).status_code == 200
        assert client.post("/v1/segment", files={"file": bytes(30_000)}, data=data).status_code == 413
        held = threading.Event()
        monkeypatch.setattr(
            "instructseg.serve.worker.segment_together",
            lambda _, asked: held.wait(20) and [ValueError("late")] * len(asked),
        )
        reply = client.post("/v1/segment", files=files, data=data)
        assert reply.status_code == 504 and "not done after 1 seconds" in reply.json()["detail"]
        got = events(client.post("/v1/video", files={"file": video.read_bytes()}, data=data).text)
        assert [name for name, _ in got] == ["start", "error"] and "cut the video" in got[1][1]["detail"]
        with ThreadPoolExecutor(2) as threads:
            replies = list(threads.map(lambda _: client.post("/v1/segment", files=files, data=data), range(2)))
        assert {reply.status_code for reply in replies} == {503, 504}
        held.set()


@pytest.fixture
def server(predictors: Any) -> Iterator[str]:
    """Address of a server on this machine."""
    config = uvicorn.Config(
        create_service("random", lambda: predictors, Limits(waiting=1000)),
        port=0,
        log_level="error",
        lifespan="on",
    )
    one = uvicorn.Server(config)
    thread = threading.Thread(target=one.run)
    thread.start()
    while not one.started:
        thread.join(0.05)
        assert thread.is_alive()
    port = one.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        wait_until_ready(client)
    yield f"http://127.0.0.1:{port}"
    one.should_exit = True
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.slow
def test_a_thousand_mixed_requests_are_all_answered_and_none_is_mixed_up(server: str, predictors: Any) -> None:
    rng = random.Random(0)
    sizes = [(24 + 2 * number, 60 - number) for number in range(20)]  # tells whose answer it is
    right = [
        predictors[0].predict(image(n, *size), "the red circle", threshold=0)[0] for n, size in enumerate(sizes)
    ]
    bad = [(b"", "a"), (b"\x89PNG", "a"), (png(0)[:99], "a"), (png(0), " "), (png(0), "word " * 101)]
    jobs = [rng.choice([*range(20), *range(20), *range(-len(bad), 0)]) for _ in range(1000)]
    memory: list[int] = []

    async def ask(client: Any, gate: asyncio.Semaphore, number: int) -> None:
        async with gate:
            content, words = (png(number, *sizes[number]), "the red circle") if number >= 0 else bad[number]
            reply = await client.post(
                "/v1/segment", files={"file": content}, data={"instructions": words, "threshold": 0}
            )
        if number < 0:
            assert reply.status_code == 422 and reply.json()["detail"]
            return
        assert reply.status_code == 200, reply.text
        (found,) = reply.json()["results"]
        mask = rle_to_mask(found["rle"], sizes[number])
        assert (mask != right[number].mask).mean() < 0.02
        assert found["score"] == pytest.approx(right[number].score, abs=1e-3)

    async def flood() -> None:
        gate = asyncio.Semaphore(16)
        async with httpx.AsyncClient(base_url=server, timeout=120) as client:
            for start in range(0, 1000, 100):
                await asyncio.gather(*(ask(client, gate, number) for number in jobs[start : start + 100]))
                memory.append(_resident())

    asyncio.run(flood())
    assert memory[-1] - memory[2] < 32 * 2**20, memory  # flat once everything was seen
    text = httpx.get(f"{server}/metrics").text
    assert sum(map(int, re.findall(r'requests_total\{path="/v1/segment",status="\d+"\} (\d+)', text))) == 1000
    assert 'status="5' not in text
    batches, requests = (
        int(re.search(rf"instructseg_{n} (\d+)", text)[1]) for n in ("batches_total", "batched_requests_total")
    )  # type: ignore[index]
    assert batches < requests == sum(number >= 0 for number in jobs)


def _resident() -> int:
    """Bytes of memory of this process, which the server shares."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


HOOKS = """
import pathlib, schemathesis
from hypothesis import strategies as st

FILES = [file.read_bytes() for file in sorted(pathlib.Path("files").iterdir())]
schemathesis.openapi.format("binary", st.one_of(st.sampled_from(FILES), st.binary(max_size=64)))
"""
"""Real files among the random bytes."""


@pytest.mark.slow
def test_the_service_keeps_its_own_schema(server: str, tmp_path: Path, video: Path) -> None:
    (tmp_path / "files").mkdir()
    for name, content in (
        ("a.png", png(0)),
        ("b.png", png(1)),
        ("c.mp4", video.read_bytes()),
        ("d", png(2)[:500]),
    ):
        (tmp_path / "files" / name).write_bytes(content)
    (tmp_path / "hooks.py").write_text(HOOKS)
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    words = [
        "--max-examples",
        "200",
        "--phases",
        "examples,coverage,fuzzing",
        "--seed",
        "1",
        "--checks",
        checks,
    ]
    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [program, "run", f"{server}/openapi.json", *words],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    counted = re.findall(
        r'requests_total\{path="(/v1/\w+)",status="(\d+)"\} (\d+)', httpx.get(f"{server}/metrics").text
    )
    for path in ("/v1/segment", "/v1/mask", "/v1/video"):
        by_status = {status: int(count) for one, status, count in counted if one == path}
        assert sum(by_status.values()) >= 200 and by_status["200"] >= 20, by_status
        assert not any(status.startswith("5") for status in by_status), by_status
