"""Examples in shards, and the order in which an epoch reads them: planned by numbers, so that it goes on from anywhere."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch


class Shards(Protocol):
    """Examples that can be read from some place in a shard onwards, because together they are too many to hold."""

    source: str
    """Where they are from, in words."""
    classes: int
    """How many classes they are of; 0 where they have no labels."""

    @property
    def lengths(self) -> Sequence[int]:
        """How many there are in each shard."""

    def rows(self, shard: int, start: int) -> Iterator[tuple[Any, int | None]]:
        """The examples of a shard from a place in it on, not decoded yet: an image file as bytes, or an array of numbers; each
        with its class number.

        Raises:
            DataError: where they cannot be read.
        """

    def place(self, shard: int, index: int) -> str:
        """An example in words, for messages."""


class Span(NamedTuple):
    """Consecutive examples of one shard."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Row:
    """An example as it is stored, and where."""

    shard: int
    index: int
    x: Any
    label: int | None


HEADS = 32
"""From so many places, evenly apart, the examples of a split are cut: a set may be sorted by class."""
LANES = 4
"""Shards that are read at the same time, so that what is near in one is not near in an epoch."""


def size(spans: Sequence[Span]) -> int:
    """How many examples there are."""
    return sum(span.stop - span.start for span in spans)


def whole(shards: Shards) -> tuple[Span, ...]:
    """All of them."""
    return tuple(Span(shard, 0, n) for shard, n in enumerate(shards.lengths) if n)


def cut(spans: Sequence[Span], n: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """`n` examples, the first of each of some spans, and the rest."""
    k = min(len(spans), HEADS)
    chosen = [i * len(spans) // k for i in range(k)]
    order = [*chosen, *(i for i in range(len(spans)) if i not in set(chosen))]
    taken = [0] * len(spans)
    for done, i in enumerate(order):
        wanted = -(-n // max(1, k - done))
        taken[i] = min(wanted, spans[i].stop - spans[i].start, n)
        n -= taken[i]
    for i in order:  # where short ones have left something over
        more = min(n, spans[i].stop - spans[i].start - taken[i])
        taken[i], n = taken[i] + more, n - more
    head = tuple(Span(s.shard, s.start, s.start + t) for s, t in zip(spans, taken, strict=True) if t)
    rest = tuple(Span(s.shard, s.start + t, s.stop) for s, t in zip(spans, taken, strict=True) if s.start + t < s.stop)
    return head, rest


def part(spans: Sequence[Span], start: int, stop: int) -> list[Span]:
    """The examples from `start` to `stop`, counted over all spans."""
    found, seen = [], 0
    for span in spans:
        n = span.stop - span.start
        low, high = max(start - seen, 0), min(stop - seen, n)
        if low < high:
            found.append(Span(span.shard, span.start + low, span.start + high))
        seen += n
    return found


def shuffled(spans: Sequence[Span], seed: int) -> list[Span]:
    """The spans in another order."""
    return [spans[i] for i in torch.randperm(len(spans), generator=torch.Generator().manual_seed(seed)).tolist()]


def windows(spans: Sequence[Span], most: int, lanes: int = LANES) -> Iterator[list[Span]]:
    """The spans in pieces of at most `most` examples in all (and one a lane): what is shuffled at a time."""
    queues = [deque(spans[lane::lanes]) for lane in range(lanes)]
    while queues := [queue for queue in queues if queue]:
        window = []
        for queue in queues:
            left = max(1, most // len(queues))
            while left and queue:
                shard, start, stop = queue.popleft()
                until = min(start + left, stop)
                window.append(Span(shard, start, until))
                left -= until - start
                if until < stop:
                    queue.appendleft(Span(shard, until, stop))
        yield window
