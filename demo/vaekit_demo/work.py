"""Where answers are worked out: a thread a core, and a bound on how many wait, so that a crowd is told rather than piled up."""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any, TypeVar

from vaekit import VaekitError
from vaekit_demo.engine.shown import sure

Result = TypeVar("Result")
FULL = "queue is full: try again in a moment"
_log = logging.getLogger(__name__)


class Full(Exception):
    """As many are waiting as may wait."""


class Workers:
    """Threads that work for all visitors.

    Args:
        most: how many calls may wait or be worked on at a time.
    """

    def __init__(self, most: int = 128) -> None:
        self._threads = ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count())
        self._room = BoundedSemaphore(most)
        self._closed = False

    async def run(self, compute: Callable[..., Result], *arguments: Any) -> Result:
        """Have something computed.

        Raises:
            Full: where too many wait already.
        """
        if not self._room.acquire(blocking=False):
            raise Full(FULL)
        try:
            future = self._threads.submit(compute, *arguments)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda done: self._room.release())
        return await asyncio.wrap_future(future)

    def soon(self, compute: Callable[..., object], *arguments: Any) -> None:
        """Have something computed that nobody waits for."""
        self._threads.submit(self._logged, compute, *arguments)

    def close(self) -> None:
        """Take nothing more; what is being worked on is left to end."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _logged(self, compute: Callable[..., object], *arguments: Any) -> None:
        try:
            compute(*arguments)
        except Exception as error:
            if not self._closed:  # an interpreter that is ending refuses imports and threads
                spoken(error)


def spoken(error: Exception) -> str:
    """What a visitor is told of an error: a sentence, and never a traceback, which goes to the log."""
    if isinstance(error, VaekitError):
        return sure(error)
    if isinstance(error, Full):
        return FULL
    _log.error("an answer failed", exc_info=error)
    return "Something went wrong on the server; its log says what."
