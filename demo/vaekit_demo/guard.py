"""What stands before the page: a bound on how much is sent and how many ask at once, and headers that keep browsers to it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BYTES = 8 * 2**20
"""Of one request."""
MOST_AT_ONCE = 256
"""Requests that send something."""
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        b"style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
        b"form-action 'self'",
    ),
]
"""The page takes nothing from anywhere else; its templates are compiled in the browser, which is what eval is for."""
_log = logging.getLogger(__name__)


class Guard:
    """An ASGI middleware.

    Args:
        app: what it stands before.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.at_once = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._answered(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > MOST_BYTES:
            await _refuse(send, 413, f"more than {MOST_BYTES:,} bytes")
            return
        if self.at_once >= MOST_AT_ONCE:
            await _refuse(send, 503, "queue is full")
            return
        self.at_once += 1
        try:
            await self._answered(scope, _bounded(receive), send)
        finally:
            self.at_once -= 1

    async def _answered(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Have it answered; what Gradio stumbles over is a request that nobody's page sends."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, _with_headers(sent))
        except _TooMuch:
            await _refuse(send, 413, f"more than {MOST_BYTES:,} bytes")
        except Exception as error:
            if begun:
                raise
            _log.warning("%s %s was refused: %r", scope["method"], scope["path"], error)
            await _refuse(send, 400, "this request is none that can be answered")


class _TooMuch(Exception):
    pass


def _bounded(receive: Receive) -> Receive:
    had = 0

    async def counted() -> Message:
        nonlocal had
        message = await asyncio.wait_for(receive(), _PATIENCE) if had == 0 else await receive()
        had += len(message.get("body", b""))
        if had > MOST_BYTES:
            raise _TooMuch
        return message

    return counted


_PATIENCE = 60.0


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return sent


async def _refuse(send: Send, status: int, why: str) -> None:
    body = f'{{"error":"{why}"}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
