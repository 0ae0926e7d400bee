"""Token, size of the body and counters, before an application that only echoes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from instructseg.serve.counters import Counters
from instructseg.serve.guard import Guard

HEADER = (b"authorization", b"Bearer secret")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Refused(Exception):
    """Made by the guard, of a status and a sentence."""


def ask(
    guard: Guard, path: str, *chunks: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[int, bytes, dict[bytes, bytes]]:
    waiting = [
        {"type": "http.request", "body": one, "more_body": i + 1 < len(chunks)} for i, one in enumerate(chunks)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard({"type": "http", "path": path, "headers": list(headers)}, receive, send))
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


def guarded(token: str | None = None, upload: int = 8) -> tuple[Guard, Counters]:
    counters = Counters()
    return Guard(echo, counters, lambda: {"/x"}, upload, token, Refused), counters


def test_a_token_is_compared_as_a_whole() -> None:
    guard, _ = guarded("secret")
    assert ask(guard, "/x", b"hi", headers=(HEADER,))[:2] == (200, b"hi")
    assert ask(guard, "/health", b"hi")[0] == 200
    for header in (b"Bearer secre", b"Bearer secret2", b"Basic secret", b"secret", b"", b"Bearer \xff"):
        status, body, headers = ask(guard, "/x", b"hi", headers=((b"authorization", header),))
        assert status == 401 and headers[b"www-authenticate"] == b"Bearer"
        assert "Authorization" in json.loads(body)["detail"]


def test_a_body_beyond_the_limit_is_not_read() -> None:
    guard, _ = guarded()
    assert ask(guard, "/x", b"12345678")[0] == 200
    status, body, _ = ask(guard, "/x", headers=((b"content-length", b"9"),))
    assert status == 413 and "larger than 8 bytes" in json.loads(body)["detail"]
    with pytest.raises(Refused, match=r"413, .*larger than 8 bytes"):  # a length that is not told, or a lie
        ask(guard, "/x", b"12345", b"6789", headers=((b"content-length", b"5"),))


def test_requests_are_counted_by_known_path_and_status() -> None:
    guard, counters = guarded("secret")
    for path in ("/x", "/x", "/y" * 50):
        ask(guard, path, b"", headers=(HEADER,))
    ask(guard, "/x", b"")
    text = counters.text()
    assert 'requests_total{path="/x",status="200"} 2' in text
    assert 'requests_total{path="/x",status="401"} 1' in text and 'path="other",status="200"} 1' in text
    assert "/y" not in text and counters.value("request_seconds_total") > 0


def test_a_client_that_sends_nothing_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instructseg.serve.guard.PATIENCE", 0.05)
    guard, counters = guarded()

    async def nothing_more() -> Any:
        await asyncio.sleep(60)

    async def no_answer(message: Any) -> None:
        raise AssertionError(message)

    with pytest.raises(Refused, match=r"408, 'nothing came for 0.05 seconds"):
        asyncio.run(guard({"type": "http", "path": "/x", "headers": []}, nothing_more, no_answer))
    assert counters.value("requests_total") == 1


def test_the_end_of_a_connection_is_waited_for_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instructseg.serve.guard.PATIENCE", 0.05)
    came: list[Any] = []

    async def streams(scope: Any, receive: Any, send: Any) -> None:
        came.extend([await receive(), await receive()])

    async def one_body_then_the_end() -> Any:
        if not came and not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"hi"}
        await asyncio.sleep(0.2)
        return {"type": "http.disconnect"}

    asked: list[bool] = []
    guard = Guard(streams, Counters(), lambda: {"/x"}, 8, None, Refused)
    asyncio.run(guard({"type": "http", "path": "/x", "headers": []}, one_body_then_the_end, None))  # type: ignore[arg-type]
    assert [one["type"] for one in came] == ["http.request", "http.disconnect"]
