"""Reading ahead by threads, in order and never far."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(read: Callable[[T], R], items: Iterable[T], workers: int, far: int | None = None) -> Iterator[R]:
    """`read` of each item, in the order of the items; at most `far` + 1 of them are read or wait to be taken.

    Args:
        read: of one item; what it raises is raised in that item's turn.
        items: to read.
        workers: how many threads.
        far: as many as there are threads, unless given.
    """
    most = workers if far is None else far
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also where whoever takes the results stops early
        pool.shutdown(cancel_futures=True)
