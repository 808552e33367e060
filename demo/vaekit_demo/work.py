"""Where answers are worked out, and a bound on how many wait, so that a crowd is told rather than piled up."""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any, TypeVar

from vaekit import VaekitError
from vaekit_demo.engine.shown import Shown, sure

Result = TypeVar("Result")
FULL = "queue is full: try again in a moment"
_log = logging.getLogger(__name__)


class Full(Exception):
    """As many are waiting as may wait."""

    def __init__(self) -> None:
        super().__init__(FULL)


class _Lane:
    """Threads, and room for so many to wait for them."""

    def __init__(self, threads: int, most: int) -> None:
        self.threads = ThreadPoolExecutor(threads)
        self.room = BoundedSemaphore(most)


class Workers:
    """Threads that work for all visitors: one a core for what is quick, half as many for what takes long, and one for surveys.

    Args:
        most: how many calls of a kind may wait or be worked on at a time.
    """

    def __init__(self, most: int = 64) -> None:
        cores = os.cpu_count() or 1
        self._quick, self._long = _Lane(cores, most), _Lane(max(1, cores // 2), most)
        self._surveying = ThreadPoolExecutor(1)
        self._closed = False

    async def run(self, compute: Callable[..., Result], *arguments: Any, quick: bool = False) -> Result:
        """Have something computed; not begun where nobody waits for it any more.

        Args:
            compute: the function.
            arguments: its arguments.
            quick: whether it takes no longer than the picture of one code.

        Raises:
            Full: where too many wait already.
        """
        lane = self._quick if quick else self._long
        if self._closed or not lane.room.acquire(blocking=False):
            raise Full
        try:
            future = lane.threads.submit(compute, *arguments)
        except BaseException:
            lane.room.release()
            raise
        future.add_done_callback(lambda done: lane.room.release())
        return await self._awaited(asyncio.wrap_future(future))

    async def survey(self, shown: Shown) -> None:
        """See to it that a model's survey has been made, without holding up what others ask."""
        if not shown.surveyed:
            await self._awaited(asyncio.wrap_future(self._surveying.submit(lambda: shown.survey)))

    def soon(self, shown: Shown) -> None:
        """Have a model's survey made, for whoever asks for it first."""
        self._surveying.submit(self._surveyed, shown)

    def close(self, wait: bool = False) -> None:
        """Take nothing more.

        Args:
            wait: for what is being worked on.
        """
        self._closed = True
        for threads in (self._quick.threads, self._long.threads, self._surveying):
            threads.shutdown(wait=wait, cancel_futures=True)

    async def _awaited(self, future: "asyncio.Future[Result]") -> Result:
        try:
            return await future
        except asyncio.CancelledError:
            if self._closed:
                raise Full from None
            raise

    def _surveyed(self, shown: Shown) -> None:
        try:
            assert shown.survey
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
