"""Reading ahead by threads, in order and never far."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

GRACE = 0.2
"""Seconds in which threads may end what they are at, once nobody wants it; one that waits for its source is left behind."""


def ahead(
    read: Callable[[T], R], items: Iterable[T], workers: int, far: int | None = None, together: int = 1
) -> Generator[R, None, None]:
    """`read` of each item, in the order of the items; at most `far` + 1 of them are read or wait to be taken, or `together`.

    Whoever stops early closes it, which closes the items as well where they are a generator.

    Args:
        read: of one item; what it raises is raised in that item's turn.
        items: to read.
        workers: how many threads.
        far: as many as there are threads, unless given.
        together: how many items a thread reads at a time: more than one where an item is read faster than threads take turns.
    """
    most = workers if far is None else far
    each = iter(items)
    threads = _Threads(workers)
    waiting: deque[Future[list[tuple[R | None, BaseException | None]]]] = deque()
    try:
        while some := list(islice(each, together)):
            waiting.append(threads.submit(partial(_read_all, read, some)))
            if (len(waiting) + 1) * together > most + 1:
                yield from _taken(waiting.popleft())
        while waiting:
            yield from _taken(waiting.popleft())
    finally:
        threads.stop()
        if isinstance(each, Generator):
            each.close()


def one_ahead(items: Iterator[R]) -> Generator[R, None, None]:
    """The same items, each got by a thread while the one before it is in use, no more than one at a time."""
    threads = _Threads(1)
    following = threads.submit(partial(next, items, _END))
    try:
        while (item := following.result()) is not _END:
            following = threads.submit(partial(next, items, _END))
            yield item
    finally:
        threads.stop()


_END: Any = object()


def _read_all(read: Callable[[T], R], items: list[T]) -> list[tuple[R | None, BaseException | None]]:
    """What was read of each, up to the first that raised something, and that."""
    found: list[tuple[R | None, BaseException | None]] = []
    for item in items:
        try:
            found.append((read(item), None))
        except BaseException as error:
            found.append((None, error))
            break
    return found


def _taken(future: Future[list[tuple[Any, BaseException | None]]]) -> Iterator[Any]:
    for found, error in future.result():
        if error is not None:
            raise error
        yield found


class _Threads:
    """Threads that the process does not wait for when it ends, as it would for those of a ThreadPoolExecutor.

    Args:
        most: how many; they are started as there is something to do.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._threads: list[Thread] = []
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._stopped = False

    def submit(self, call: Callable[[], R]) -> Future[R]:
        future: Future[R] = Future()
        self._tasks.put((future, call))
        if len(self._threads) < self.most:
            self._threads.append(Thread(target=self._work, name="vaekit-ahead", daemon=True))
            self._threads[-1].start()
        return future

    def stop(self) -> None:
        """Have them end, and wait for that a little."""
        self._stopped = True
        for _ in self._threads:
            self._tasks.put(None)
        until = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._stopped:
            future, call = task
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del task, future, call  # so that nothing is held while it waits for more
