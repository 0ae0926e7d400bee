"""What stands before every request: token, size of the body, and counters."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from instructseg.serve.counters import Counters

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/health", "/ready", "/docs", "/openapi.json")
"""Answered without a token."""


class Guard:
    """An ASGI application around another.

    Args:
        app: the other.
        counters: receive requests and seconds.
        paths: of the application; requests of others are counted as one.
        upload: bytes of the largest body.
        token: that requests must bear; ``None`` for none.
        too_large: makes the error that the application raises while it reads a body beyond the limit.
    """

    def __init__(
        self,
        app: App,
        counters: Counters,
        paths: Callable[[], set[str]],
        upload: int,
        token: str | None,
        too_large: Callable[[str], Exception],
    ) -> None:
        self.app, self.counters, self.paths = app, counters, paths
        self.upload, self.token, self.too_large = upload, token, too_large

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, path, status = time.perf_counter(), scope["path"], [500]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
            await send(message)

        try:
            await self._answer(scope, receive, counted)
        finally:
            known = path if path in self.paths() else "other"
            self.counters.add("requests_total", f'path="{known}",status="{status[0]}"')
            self.counters.add("request_seconds_total", f'path="{known}"', time.perf_counter() - begun)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if self.token is not None and scope["path"] not in OPEN_PATHS:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self.token.encode()):
                text = "a token is needed: send the header 'Authorization: Bearer TOKEN'"
                await _refuse(send, 401, text, (b"www-authenticate", b"Bearer"))
                return
        large = f"the request is larger than {self.upload} bytes: send a smaller file"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self.upload:
            await _refuse(send, 413, large, (b"connection", b"close"))
            return
        got = 0

        async def limited() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.upload:
                raise self.too_large(large)
            return message

        await self.app(scope, limited, send)


async def _refuse(send: Send, status: int, detail: str, header: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"application/json"), header]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
