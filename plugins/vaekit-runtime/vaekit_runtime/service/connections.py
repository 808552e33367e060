"""The connections of clients: how many there are, how long one may be silent, and how much it sends before it asks."""

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """A connection that is closed where the head of a request does not come in time or has no end, and at once where there
    are too many of them.

    The time is uvicorn's `timeout_keep_alive`, which by itself ends where the first byte of a request comes.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._late: asyncio.TimerHandle | None = None
        self._before = 0  # bytes of a head that has not ended

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            self._close(b"503 Service Unavailable", "there are too many connections: try again in a second")
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._before > _MOST_HEAD:
            self._close(b"431 Request Header Fields Too Large", f"the head has more than {_MOST_HEAD:,} bytes: send less")
            return
        super().data_received(data)
        if len(self.pipeline) > _MOST_PIPELINED:
            self.transport.abort()
        elif self.cycle is None or self.cycle.response_complete:
            self._before += len(data)
            self._wait()
        else:
            self._wait_no_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is None and not self.transport.is_closing():
            seconds = self.timeout_keep_alive
            said = f"the head of the request took more than {seconds:g} s: send it faster"
            self._late = self.loop.call_later(seconds, self._close, b"408 Request Timeout", said)

    def _wait_no_more(self) -> None:
        self._before = 0
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self, status: bytes, why: str) -> None:
        """Say in JSON why, and close."""
        if self.transport.is_closing():
            return
        body = b'{"error":"%b"}' % why.encode()
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)
        self.transport.close()


def most_connections() -> int:
    """Half of the files that a process may open, so that one can always be accepted and told to go."""
    if sys.platform == "win32":
        return _MOST
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if most == resource.RLIM_INFINITY else min(_MOST, most // 2)


_MOST = 4096
_MOST_HEAD = 2**16
_MOST_PIPELINED = 16
