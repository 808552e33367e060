"""What stands before the page: which routes there are, how much is sent and kept, and how many ask at once."""

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MOST_BYTES = 8 * 2**20
"""Of one request."""
MOST_HELD = 256 * 2**20
"""Of all requests that are being sent."""
MOST_AT_ONCE = 128
"""Requests that are being answered."""
MOST_KEPT = 512 * 2**20
"""Bytes of files for visitors."""
PATIENCE = 30.0
"""Seconds in which a request is to be sent, and each part of an answer taken."""
_ROUTES = re.compile(
    r"(/gradio_api)?/(upload|queue/join|call/(v2/)?[\w-]+|component_server/?|cancel|reset)|/gradio_api/mcp(/.*)?"
)
"""What is posted: Gradio has more, for files that the server fetches and apps that it edits."""
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
        folder: of the files for visitors.
    """

    def __init__(self, app: App, folder: Path | None = None) -> None:
        self.app = app
        self.folder = folder
        self.at_once = self.held = 0
        self._kept = (0.0, 0)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._answered(scope, receive, send)
        elif not _ROUTES.fullmatch(scope["path"]):
            await _refuse(send, 404, "there is nothing of that name")
        else:
            await self._posted(scope, receive, send)

    async def _posted(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Have a request answered once all of it is there, unless whoever sent it goes away meanwhile."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > MOST_BYTES:
            await _refuse(send, 413, f"more than {MOST_BYTES:,} bytes")
            return
        chunks: list[bytes] = []
        try:
            there = await asyncio.wait_for(self._read(receive, chunks), PATIENCE)
        except _Refused as refused:
            await _refuse(send, *refused.args)
            return
        except TimeoutError:
            await _refuse(send, 408, f"the request took more than {PATIENCE:g} s to arrive")
            return
        finally:
            self.held -= sum(map(len, chunks))
        if not there:
            return
        if self.at_once >= MOST_AT_ONCE:
            await _refuse(send, 503, "queue is full")
        elif scope["path"].endswith("/upload") and self._full():
            await _refuse(send, 503, "too many files are kept at the moment: try again in some minutes")
        else:
            self.at_once += 1
            try:
                await self._while_wanted(scope, b"".join(chunks), receive, send)
            finally:
                self.at_once -= 1

    async def _read(self, receive: Receive, chunks: list[bytes]) -> bool:
        """Gather the parts of a body; whether all of it came."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            size += len(part)
            if size > MOST_BYTES:
                raise _Refused(413, f"more than {MOST_BYTES:,} bytes")
            if self.held + len(part) > MOST_HELD:
                raise _Refused(503, "queue is full")
            self.held += len(part)
            chunks.append(part)
            if not message.get("more_body", False):
                return True

    async def _while_wanted(self, scope: MutableMapping[str, Any], body: bytes, receive: Receive, send: Send) -> None:
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.ensure_future(receive())
        whole = False

        async def replayed() -> Message:
            return parts.pop() if parts else await asyncio.shield(gone)

        async def taken(message: Message) -> None:
            nonlocal whole
            await asyncio.wait_for(send(message), PATIENCE)
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        answered = asyncio.ensure_future(self._answered(scope, replayed, taken))
        try:
            await asyncio.wait([answered, gone], return_when=asyncio.FIRST_COMPLETED)
            if answered.done() or whole:  # a connection whose answer has been sent is told to be gone, too
                await answered
        finally:
            for task in (answered, gone):
                task.cancel()
            await asyncio.gather(answered, gone, return_exceptions=True)

    async def _answered(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Have it answered; what Gradio stumbles over is a request that nobody's page sends."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, _with_headers(sent))
        except Exception as error:
            if begun:
                raise
            _log.warning("%s %s was refused: %r", scope["method"], scope["path"], error)
            await _refuse(send, 400, "this request is none that can be answered")

    def _full(self) -> bool:
        """Whether there are too many files for visitors; looked at once in a few seconds."""
        if self.folder is None:
            return False
        if time.monotonic() - self._kept[0] > _SECONDS_BETWEEN_LOOKS:
            files = (os.path.join(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
            self._kept = (time.monotonic(), sum(_size(file) for file in files))
        return self._kept[1] > MOST_KEPT


_SECONDS_BETWEEN_LOOKS = 2.0


class _Refused(Exception):
    """With a status and a reason."""


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:  # deleted meanwhile
        return 0


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
