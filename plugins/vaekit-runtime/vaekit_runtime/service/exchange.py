"""One request and its answer, within bounds on size and time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.refused import Refused

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GONE = 499
"""What is counted as the status where nobody took the answer."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)


class Gone(Exception):
    """The client went away."""


class Exchange:
    """What is read from a client and sent to it.

    Args:
        receive, send: of ASGI.
        limits: on a body, and on the time that it and each piece of an answer take.
        last: says whether the connection is closed after the answer.

    Attributes:
        status: of the answer; GONE before there is one.
        whole: whether all of the answer was sent.
    """

    def __init__(self, receive: Receive, send: Send, limits: Limits, last: Callable[[], bool]) -> None:
        self.status = GONE
        self.whole = False
        self._receive = receive
        self._send = send
        self._limits = limits
        self._last = last
        self._unread = False

    async def read(self, scope: Scope, claim: Callable[[int], None]) -> bytes:
        """The body.

        Args:
            scope: of ASGI.
            claim: is told how many bytes come, before they are kept; may raise Refused.

        Raises:
            Refused: with 413 where it is too large, 408 where it takes too long.
            Gone: where the client goes before all of it is there.
        """
        if scope["method"] != "POST":
            return b""
        self._unread = True
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > self._limits.max_bytes):
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.patience):
                while self._unread:
                    part = await self._part()
                    if len(body) + len(part) > self._limits.max_bytes:
                        raise self._too_large()
                    claim(len(part))
                    body += part
        except TimeoutError:
            patience = f"{self._limits.patience:g} s"
            raise Refused(408, f"the request took more than {patience} to arrive: send it faster, or less") from None
        return bytes(body)

    async def send(self, message: Message) -> None:
        """Send a message of ASGI, a long body in pieces.

        Raises:
            TimeoutError: where a piece is not taken in time.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            closing = [(b"connection", b"close")] if self._unread or self._last() else []
            await self._send({**message, "headers": [*message.get("headers", []), *HEADERS, *closing]})
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, max(1, len(body)), _PIECE):
            last = start + _PIECE >= len(body)
            self.whole = last and not more
            async with asyncio.timeout(self._limits.patience):
                piece = body[start : start + _PIECE]
                await self._send({"type": "http.response.body", "body": piece, "more_body": more or not last})

    async def refuse(self, refused: Refused) -> None:
        """Say why a request is not answered, unless an answer has begun."""
        if self.status != GONE:
            self.give_up()
            return
        told = {"content-type": "application/json", "content-length": str(len(refused.body)), **refused.headers}
        headers = [(name.encode(), value.encode()) for name, value in told.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        drained = self._unread and refused.status != 408
        await self.send({"type": "http.response.body", "body": refused.body, "more_body": drained})
        if drained:
            await self._drain()
            await self.send({"type": "http.response.body", "body": b""})

    def give_up(self) -> None:
        """Count an answer that was not taken; the server closes a connection whose answer is not whole."""
        self.status = GONE

    async def gone(self) -> None:
        """Wait until the client goes, or the answer has been sent."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Gone
        self._unread = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part

    async def _drain(self) -> None:
        """Throw away some of what is still sent: a client that is cut off at once may never see why."""
        left = _MOST_DRAINED
        with suppress(TimeoutError, Gone):
            async with asyncio.timeout(_SECONDS_DRAINED):
                while self._unread and left > 0:
                    left -= len(await self._part())

    def _too_large(self) -> Refused:
        return Refused(413, f"the body has more than {self._limits.max_bytes:,} bytes, which are the most: send it in parts")


_PIECE = 2**16
_MOST_DRAINED = 2**26
_SECONDS_DRAINED = 2.0
