"""Examples in shards, and the order in which an epoch reads them: planned by numbers, so that it goes on from anywhere."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch


class Shards(Protocol):
    """Examples that can be read from some place in a shard onwards, because together they are too many to hold."""

    source: str
    """Where they are from, in words."""
    classes: int
    """How many classes they are of; 0 where they have no labels."""
    seeks: bool
    """Whether to begin in the middle of a shard costs much less than to read what is before: then parts of a shard are
    shuffled, and LANES[1] places read at the same time; else whole shards, and LANES[0] of them."""

    @property
    def lengths(self) -> Sequence[int]:
        """How many there are in each shard."""

    @property
    def stored(self) -> int:
        """How many bytes all of them take as they are stored, about; files that the threads read that decode take none."""

    def rows(self, shard: int, start: int) -> Iterator[tuple[Any, int | None]]:
        """The examples of a shard from a place in it on, not decoded yet, each with its class number: an array of numbers, the
        bytes of an image file, or a pair of its name for messages and its bytes. Instead of those the pair may have a function
        that reads them, which the threads call that decode.

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
LANES = (4, 16)
"""Places that are read at the same time, so that what is near in a shard is not near in an epoch: where a shard is read from
its start, and where from anywhere."""
PARTS = 32
"""Parts of all examples, at least, that are put into another order each epoch where shards can be read from anywhere."""
TURN = 64
"""Examples of a place that are read, at most, before some of the next are."""


def size(spans: Sequence[Span]) -> int:
    """How many examples there are."""
    return sum(span.stop - span.start for span in spans)


def whole(shards: Shards) -> tuple[Span, ...]:
    """All of them."""
    return tuple(Span(shard, 0, n) for shard, n in enumerate(shards.lengths) if n)


def cut(spans: Sequence[Span], n: int) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """`n` examples from up to HEADS places, evenly apart, and the rest, both in the order of the spans."""
    spans = _split(spans, max(1, -(-size(spans) // HEADS)))
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


def _split(spans: Sequence[Span], most: int) -> list[Span]:
    """The spans in pieces of at most `most` examples, those of a span as equal as can be."""
    pieces = []
    for shard, start, stop in spans:
        k = -(-(stop - start) // most)
        bounds = [start + (stop - start) * i // k for i in range(k + 1)]
        pieces += [Span(shard, low, high) for low, high in pairwise(bounds)]
    return pieces


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


def shuffled(spans: Sequence[Span], seed: int, block: int | None = None) -> list[Span]:
    """The spans in another order; those of one block of a shard stay together, in their own.

    Args:
        spans: in rising order in each shard.
        seed: of the order.
        block: so many examples; a shard is one unless given.
    """
    blocks: dict[tuple[int, int], list[Span]] = {}
    for shard, start, stop in spans:
        while start < stop:
            number = start // block if block else 0
            until = min(stop, (number + 1) * block) if block else stop
            blocks.setdefault((shard, number), []).append(Span(shard, start, until))
            start = until
    each = list(blocks.values())
    order = torch.randperm(len(each), generator=torch.Generator().manual_seed(seed)).tolist()
    return [span for i in order for span in each[i]]


def windows(spans: Sequence[Span], most: int, lanes: int) -> Iterator[list[Span]]:
    """The spans in pieces of at most `most` examples in all: what is shuffled at a time.

    Args:
        spans: in an order in which those that follow one another in a shard are read by one lane.
        most: examples of a window.
        lanes: that take turns, each of at most TURN examples.
    """
    waiting = deque(_runs(spans))
    active = [waiting.popleft() for _ in range(min(lanes, len(waiting)))]
    turn = max(1, min(TURN, most // lanes))
    window, left = [], most
    while active:
        for lane in active:
            shard, start, stop = lane.popleft()
            until = min(stop, start + turn, start + left)
            window.append(Span(shard, start, until))
            left -= until - start
            if until < stop:
                lane.appendleft(Span(shard, until, stop))
            if not left:
                yield window
                window, left = [], most
        active = [lane or waiting.popleft() for lane in active if lane or waiting]
    if window:
        yield window


def _runs(spans: Sequence[Span]) -> list[deque[Span]]:
    """Spans that follow one another in a shard, together."""
    runs: list[deque[Span]] = []
    for span in spans:
        if runs and runs[-1][-1].shard == span.shard and runs[-1][-1].stop <= span.start:
            runs[-1].append(span)
        else:
            runs.append(deque([span]))
    return runs
