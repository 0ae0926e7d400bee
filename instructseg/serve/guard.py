"""What stands before every request: token, size of the body, and counters."""

from __future__ import annotations

import asyncio
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
PATIENCE = 30.0
"""Seconds without a byte after which a client that still owes its body is given up."""


class Guard:
    """An ASGI application around another.

    Args:
        app: the other.
        counters: receive requests and seconds.
        paths: of the application; requests of others are counted as one.
        upload: bytes of the largest body.
        token: that requests must bear; ``None`` for none.
        refusal: makes the error, of a status and a sentence, that the application raises while it reads a body.
    """

    def __init__(
        self,
        app: App,
        counters: Counters,
        paths: Callable[[], set[str]],
        upload: int,
        token: str | None,
        refusal: Callable[[int, str], Exception],
    ) -> None:
        self.app, self.counters, self.paths = app, counters, paths
        self.upload, self.token, self.refusal = upload, token, refusal

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
        got, whole = 0, False

        async def limited() -> Message:
            nonlocal got, whole
            try:  # once the body is there, what comes is the end of the connection, which is waited for
                message = await asyncio.wait_for(receive(), None if whole else PATIENCE)
            except asyncio.TimeoutError:
                text = f"nothing came for {PATIENCE:g} seconds: send the request again"
                raise self.refusal(408, text) from None
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self.upload:
                raise self.refusal(413, large)
            return message

        await self.app(scope, limited, send)


async def _refuse(send: Send, status: int, detail: str, header: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"application/json"), header]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})
