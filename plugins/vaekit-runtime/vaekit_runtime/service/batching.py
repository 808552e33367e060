"""Many requests, one computation: examples that wait at the same time are computed together, by one thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.metrics import Metrics
from vaekit_runtime.service.refused import Refused
from vaekit_runtime.service.served import Array

T = TypeVar("T")
Compute = Callable[[Array, NDArray[Any] | None], Array]


class Batcher:
    """Joins what is asked at the same time, and splits what is too much at once.

    All but the computation happens on the event loop. A request that is larger than a batch goes to the end of the queue after
    each batch, so that smaller ones need not wait for all of it. One that nobody waits for any more is not computed. Where the
    batch before was of one request, the next does not wait for others either: a client on its own loses no time.

    Args:
        limits: of a batch, of the queue, and how long examples wait for others.

    Attributes:
        taken: examples for which there is room until their answer is sent.
        metrics: that count the batches.
    """

    def __init__(self, limits: Limits) -> None:
        self.taken = 0
        self.metrics = Metrics(lambda: self.taken)
        self._limits = limits
        self._queues: dict[str, _Queue] = {}
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._worker = ThreadPoolExecutor(1, "compute")
        self._submitted: set[Future[Any]] = set()

    @contextmanager
    def room(self, n: int) -> Iterator[None]:
        """A block that has room in the queue for n examples.

        Raises:
            Refused: where there is none.
        """
        if self.taken + n > self._limits.queue:
            there = f"a queue of {self._limits.queue:,}, where {self.taken:,} wait"
            raise Refused(429, f"{n:,} more examples have no room in {there}: ask again in a second", retry=True)
        self.taken += n
        try:
            yield
        finally:
            self.taken -= n

    async def joined(self, kind: str, compute: Compute, x: Array, c: NDArray[Any] | None) -> Array:
        """What `compute` gives for some examples, together with those of other requests of the same kind.

        Args:
            kind: of the computation; there is one `compute` and one shape for each.
            compute: takes examples (N, ...) and their contexts (N, ...) or None, and gives results (N, ...).
            x: the examples.
            c: their contexts.
        """
        queue = self._queues.setdefault(kind, _Queue(kind, compute))
        loop = asyncio.get_running_loop()
        wait = self._limits.max_wait if queue.company else 0.0
        job = _Job(x, c, loop.time() + wait, loop.create_future())
        queue.jobs.append(job)
        self._consider()
        return await job.result

    async def alone(self, kind: str, examples: int, compute: Callable[[], Array]) -> Array:
        """What `compute` gives, which cannot be joined with anything else; between two batches."""
        result = await self._submit(compute)
        self.metrics.computed(kind, examples)
        return result

    def close(self) -> bool:
        """Compute nothing more; whether nothing is being computed."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        return not any(future.running() for future in self._submitted)

    def _submit(self, compute: Callable[..., T], *args: Any) -> "asyncio.Future[T]":
        future = self._worker.submit(compute, *args)
        self._submitted.add(future)
        future.add_done_callback(self._submitted.discard)
        return asyncio.wrap_future(future)

    def _consider(self) -> None:
        """Compute a batch that is full or has waited long enough, or look again when one will have."""
        if self._busy:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [queue for queue in self._queues.values() if queue.wanted()]
        if not waiting:
            return
        loop = asyncio.get_running_loop()
        queue = min(waiting, key=lambda queue: (not queue.fills(self._limits.max_batch), queue.jobs[0].due))
        if queue.fills(self._limits.max_batch) or queue.jobs[0].due <= loop.time() + _TICK:
            self._start(queue)
        else:
            self._timer = loop.call_at(queue.jobs[0].due, self._consider)

    def _start(self, queue: "_Queue") -> None:
        self._busy = True
        pieces = queue.take(self._limits.max_batch)
        computing = self._submit(_computed, queue.compute, pieces)
        computing.add_done_callback(partial(self._finish, queue.kind, pieces))

    def _finish(self, kind: str, pieces: "Sequence[_Piece]", computing: "asyncio.Future[Sequence[Array | Exception]]") -> None:
        self._busy = False
        if computing.cancelled():
            return
        self.metrics.computed(kind, sum(len(piece.x) for piece in pieces))
        for piece, result in zip(pieces, computing.result(), strict=True):
            piece.job.give(result)
        self._consider()


_TICK = 1e-4  # seconds that a timer may be early


class _Job:
    """The examples of one request."""

    def __init__(self, x: Array, c: NDArray[Any] | None, due: float, result: "asyncio.Future[Array]") -> None:
        self.x = x
        self.c = c
        self.due = due
        self.result = result
        self.begun = 0
        self._parts: list[Array] = []

    @property
    def left(self) -> int:
        """Examples that are in no batch yet."""
        return len(self.x) - self.begun

    def piece(self, most: int) -> "_Piece":
        """The next examples, `most` at most."""
        part = slice(self.begun, self.begun + min(most, self.left))
        self.begun = part.stop
        return _Piece(self, self.x[part], None if self.c is None else self.c[part])

    def give(self, part: Array | Exception) -> None:
        """Hand over the results of the piece that is next in order."""
        if self.result.done():
            return
        if isinstance(part, Exception):
            self.result.set_exception(part)
            return
        self._parts.append(part)
        if sum(map(len, self._parts)) == len(self.x):
            self.result.set_result(self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts))


class _Piece(NamedTuple):
    """Examples of one job that are in one batch."""

    job: _Job
    x: Array
    c: NDArray[Any] | None


class _Queue:
    """The jobs of one kind.

    Attributes:
        company: whether the batch before was of several.
    """

    def __init__(self, kind: str, compute: Compute) -> None:
        self.kind = kind
        self.compute = compute
        self.company = True
        self.jobs: deque[_Job] = deque()

    def wanted(self) -> bool:
        """Whether there is a job that somebody waits for; those before it are dropped."""
        while self.jobs and self.jobs[0].result.done():
            self.jobs.popleft()
        return bool(self.jobs)

    def fills(self, most: int) -> bool:
        """Whether there are examples for a whole batch."""
        count = 0
        for job in self.jobs:
            count += 0 if job.result.done() else job.left
            if count >= most:
                return True
        return False

    def take(self, most: int) -> list[_Piece]:
        """The next batch."""
        pieces: list[_Piece] = []
        unfinished: list[_Job] = []
        count = 0
        while count < most and self.wanted():
            job = self.jobs.popleft()
            pieces.append(job.piece(most - count))
            count += len(pieces[-1].x)
            if job.left:
                unfinished.append(job)
        self.jobs.extend(unfinished)
        self.company = len(pieces) > 1
        return pieces


def _computed(compute: Compute, pieces: Sequence[_Piece]) -> Sequence[Array | Exception]:
    """The results of each piece, or its error: where they cannot be computed together, each is on its own."""
    try:
        x = np.concatenate([piece.x for piece in pieces])
        c = None if pieces[0].c is None else np.concatenate([piece.c for piece in pieces if piece.c is not None])
        together = compute(x, c)
        return np.split(together, np.cumsum([len(piece.x) for piece in pieces[:-1]]))
    except Exception as error:
        if len(pieces) == 1:
            return [error]
        return [_computed(compute, [piece])[0] for piece in pieces]
