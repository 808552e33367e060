"""A socket, a server on it, and how it stops: what was taken is answered, and nothing more is taken."""

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from vaekit_runtime.errors import InputError
from vaekit_runtime.service.app import Service
from vaekit_runtime.service.connections import Connection


def bound(host: str, port: int) -> socket.socket:
    """A socket on an address, which does not listen before there are answers.

    Raises:
        InputError: where it cannot, saying why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"port {port} of {host} cannot be listened on ({why}): give another --port") from None
    return listening


def serve(service: Service, listening: socket.socket, ready: Callable[[str], object]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    At the first of them nothing new is taken, and what was taken is answered, within the service's grace; the second ends the
    process at once.

    Args:
        service: to serve.
        listening: the socket.
        ready: is told the address, once there are answers.
    """
    limits = service.limits
    config = uvicorn.Config(
        service,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=max(1, round(limits.patience)),
        timeout_graceful_shutdown=_SECONDS_TO_CLOSE,
    )
    with _short_pauses():
        _Server(config, service, lambda: ready(_address(listening))).run([listening])
    if not service.batcher.close():  # a computation that nobody waits for would hold the process up
        sys.stdout.flush()
        os._exit(0)


@contextmanager
def _short_pauses() -> Iterator[None]:
    """A block in which the garbage collector leaves alone what is there already: going through all that was imported takes
    it 40 ms each time, for which every request waits."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


_BACKLOG = 2048
_SECONDS_TO_CLOSE = 1


class _Server(uvicorn.Server):
    """A server that lets its service answer what was taken before it stops.

    Args:
        config: of the server.
        service: that it serves.
        ready: is called once there are answers.
    """

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready
        self._stopping: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        guard = self._service.guard
        if self._stopping is not None:
            guard.draining = True
            late = time.monotonic() > self._stopping + self._service.limits.grace
            self.should_exit = late or guard.at_once == 0
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stopping is not None:
            os._exit(128 + sig)
        self._stopping = time.monotonic()


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
