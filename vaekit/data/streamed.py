"""Examples of shards that are never held: shuffled in windows, and decoded by threads shortly before they are used."""

import io
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain, islice
from threading import Event
from typing import Any

import torch
from torch import Tensor

from vaekit.blocks import seed_of
from vaekit.data.ahead import ahead, one_ahead
from vaekit.data.arrays import as_examples, as_tensor
from vaekit.data.shards import LANES, PARTS, Row, Shards, Span, cut, part, shuffled, size, whole, windows
from vaekit.errors import ConfigError, DataError, VaekitError, short
from vaekit.shapes import Shape

WINDOW = 2**25
"""Bytes, as they are stored, of the examples that are shuffled at a time; two windows of them are held."""
AHEAD = 2**26
"""Bytes of decoded examples that are read ahead, two batches at most."""
WORKERS = min(16, os.cpu_count() or 1)
"""Threads that decode; two for examples of less than SMALL, at which more get into one another's way."""
SMALL = 2**15
"""Bytes of a decoded example."""
FETCHERS = 16
"""Threads that decode what they have to fetch themselves."""
TOGETHER = 16
"""Examples at most that a thread decodes at a time."""

Change = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, eq=False)
class Stream:
    """Some of the examples of shards; `Stream.of` makes one of all.

    It can be read by number as well, as a Lazy: in order that is quick, else not.

    Args:
        shards: the examples.
        spans: which of them.
        first: the first of all, decoded.
        stored: bytes that one takes as it is stored, about.
        workers: threads that decode.
        change: what is done to examples x (1, *shape) besides, and the number of each in the source.
        grey: whether images are made grey where they are not.
        checks: what each example must pass when it is read, before training or during it; each is told where it is from.
    """

    shards: Shards
    spans: tuple[Span, ...]
    first: Tensor
    stored: int
    workers: int = WORKERS
    change: Change | None = None
    grey: bool = False
    checks: list[Callable[[Tensor, str], None]] = field(default_factory=list)

    mixed = ""

    @classmethod
    def of(cls, shards: Shards) -> "Stream":
        """All examples of some shards.

        Raises:
            DataError: where there are none, or the first cannot be read.
        """
        spans = whole(shards)
        if not spans:
            raise DataError(f"{shards.source} is empty")
        (row,) = _Reader(shards).rows(Span(spans[0].shard, 0, 1))
        first = _decoded(row.x, None, _where(shards, row))
        workers = FETCHERS if callable(_content(row.x)) else WORKERS if first.nbytes >= SMALL else min(2, WORKERS)
        return cls(shards, spans, first, _EACH + shards.stored // size(spans), workers)

    def __len__(self) -> int:
        return size(self.spans)

    @cached_property
    def example(self) -> Tensor:
        """The first of all, as it is read."""
        return self.first if self.change is None else self.change(self.first[None], 0)[0]

    @property
    def shape(self) -> Shape:
        """Of one example."""
        return tuple(self.example.shape)

    def cut(self, n: int) -> tuple["Stream", "Stream"]:
        """`n` examples from up to HEADS places, evenly apart, and the others."""
        head, rest = cut(self.spans, n)
        return replace(self, spans=head), replace(self, spans=rest)

    def changed(self, change: Change, grey: bool) -> "Stream":
        """The same with something done to each example."""
        return replace(self, change=change, grey=grey, checks=[])

    def rows(self, seed: int | None = None, start: int = 0, stop: int | None = None, skip: int = 0) -> Iterator[Row]:
        """The examples of an epoch, not decoded, in an order that the seed alone settles; in that of the source without one.

        What is skipped is not read, but for what is in the window where it begins. The order depends on how many bytes the
        examples take as well, not on when they come.

        Args:
            seed: of the order: that of the shards or their parts, LANES of which are read at a time, and that in each window.
            start: where those of this rank begin, in the order of the shards.
            stop: where they end.
            skip: how many of them to leave out.
        """
        spans = part(self.spans if seed is None else self._shuffled(seed), start, len(self) if stop is None else stop)
        lanes = 1 if seed is None else LANES[self.shards.seeks]
        plan = enumerate(windows(spans, self._most, lanes))
        for begun in plan:
            if skip < size(begun[1]):
                break
            skip -= size(begun[1])
        else:
            return
        stopped = Event()
        with closing(one_ahead(self._read(chain([begun], plan), lanes, seed, stopped))) as pieces:
            try:
                for rows in pieces:
                    yield from rows[skip:]
                    skip = max(0, skip - len(rows))
            finally:
                stopped.set()

    @property
    def _most(self) -> int:
        """Examples in a window, unless they turn out to take more than WINDOW."""
        return max(1, WINDOW // self.stored)

    def _shuffled(self, seed: int) -> list[Span]:
        """The spans in the order of an epoch; nothing is taken apart where all are in one window."""
        apart = self.shards.seeks and len(self) > self._most
        return shuffled(self.spans, seed, -(-len(self) // PARTS) if apart else None)

    def _read(
        self, plan: Iterable[tuple[int, list[Span]]], lanes: int, seed: int | None, stopped: Event
    ) -> Iterator[list[Row]]:
        """The examples of numbered windows, shuffled in each; a window that takes more than WINDOW comes in several pieces."""
        reader = _Reader(self.shards, lanes)
        for number, window in plan:
            rows: list[Row] = []
            held, piece = 0, 0
            for row in chain.from_iterable(map(reader.rows, window)):
                if stopped.is_set():
                    return
                rows.append(row)
                held += _bytes(row.x)
                if held >= WINDOW:
                    yield _mixed(rows, seed, number, piece)
                    rows, held, piece = [], 0, piece + 1
            if rows:
                yield _mixed(rows, seed, number, piece)

    def decoded(self, row: Row) -> tuple[Tensor, int | None]:
        """An example and its class number.

        Raises:
            DataError: naming the one that is not as the others, or cannot be read.
        """
        where = _where(self.shards, row)
        x = _decoded(row.x, self.first, where, self.grey)
        if self.change is not None:
            try:
                x = self.change(x[None], self._before[row.shard] + row.index)[0]
            except ConfigError as error:
                raise DataError(f"{where}: {error}") from None
        if (tuple(x.shape), x.dtype) != (self.shape, self.example.dtype):
            found = f"is of {x.dtype} {tuple(x.shape)}, the first of {self.example.dtype} {self.shape}"
            cure = ": bring images to one size with data.resize=64, say" if x.dim() == 3 else ""
            raise DataError(f"{where} {found}{cure}")
        if self.shards.classes and (row.label is None or not 0 <= row.label < self.shards.classes):
            raise DataError(f"{where} has the label {row.label}: class numbers from 0 to {self.shards.classes - 1} are wanted")
        for check in self.checks:
            check(x, where)
        return x, row.label

    def far(self, n: int) -> int:
        """How many examples are read ahead for batches of `n`."""
        return max(self.workers, min(2 * n, AHEAD // self.example.nbytes))

    def examples(self, rows: Iterable[Row], far: int | None = None) -> Generator[tuple[Tensor, int | None], None, None]:
        """Examples and their class numbers, decoded ahead by threads.

        Args:
            rows: of which.
            far: how many are decoded ahead at most; as for batches of TOGETHER a thread unless given.
        """
        far = self.far(self.workers * TOGETHER) if far is None else far
        return ahead(self.decoded, rows, self.workers, far, min(TOGETHER, max(1, far // (2 * self.workers))))

    def read(self, index: int) -> Tensor:
        """One example by its number."""
        (row,) = self.rows(start=index, stop=index + 1)
        return self.decoded(row)[0]

    def held(self, index: list[int] | None = None) -> tuple[Tensor, Tensor | None]:
        """Examples by their numbers in rising order, all unless given, and labels where every one has one."""
        x = torch.empty(len(self) if index is None else len(index), *self.shape, dtype=self.example.dtype)
        labels: list[int] = []
        for i, (example, label) in enumerate(self.each(index)):
            x[i] = example
            labels.append(-1 if label is None else label)
        known = bool(self.shards.classes) and all(0 <= label < self.shards.classes for label in labels)
        return x, torch.tensor(labels) if known else None

    def each(self, index: list[int] | None = None) -> Iterator[tuple[Tensor, int | None]]:
        """Examples one by one, in the order of the source, and what they have for labels."""
        with closing(replace(self, shards=_Unlabelled(self.shards)).examples(self._some(index))) as examples:
            yield from examples

    def _some(self, index: list[int] | None) -> Iterator[Row]:
        if index is None:
            yield from self.rows()
            return
        reader = _Reader(self.shards)
        for i in index:
            for span in part(self.spans, i, i + 1):
                yield from reader.rows(span)

    @cached_property
    def _before(self) -> list[int]:
        """How many examples the shards before each have."""
        return [0, *accumulate(self.shards.lengths)]


class _Unlabelled:
    """Shards whose labels nobody has promised anything of: the tests of contests have none, or -1."""

    def __init__(self, shards: Shards) -> None:
        self.source, self.lengths, self.rows, self.place = shards.source, shards.lengths, shards.rows, shards.place
        self.stored, self.seeks = shards.stored, shards.seeks
        self.classes = 0


class _Reader:
    """Reads spans.

    Args:
        shards: of which.
        lanes: at how many places at the same time; so many stay open, for whoever goes on there.
    """

    def __init__(self, shards: Shards, lanes: int = 1) -> None:
        self.shards, self.lanes = shards, lanes
        self._open: list[tuple[int, int, Iterator[tuple[Any, int | None]]]] = []

    def rows(self, span: Span) -> Iterator[Row]:
        """The examples of a span."""
        shard, start, stop = span
        index = start
        try:
            index, rows = self._begun(span)
            for x, label in islice(rows, stop - index):
                if index >= start:
                    yield Row(shard, index, x, label)
                index += 1
        except VaekitError:
            raise
        except Exception as error:
            where = self.shards.place(shard, index)
            raise DataError(f"{where} cannot be read: {type(error).__name__}: {short(error, 200)}") from error
        if index < stop:
            where, n = self.shards.place(shard, index), self.shards.lengths[shard]
            raise DataError(f"{where} is not there: {self.shards.source} was to have {n} examples in that shard")
        if stop < self.shards.lengths[shard]:
            self._open = [*self._open, (shard, stop, rows)][-self.lanes :]

    def _begun(self, span: Span) -> tuple[int, Iterator[tuple[Any, int | None]]]:
        """A place in a shard, at most the start of a span, and what is read from there on: one that is open and near enough."""
        shard, start, stop = span
        near = 0
        if self.shards.seeks:  # reading is slower than passing over, and another lane may want to go on there
            near = start - (start // 4 if self.lanes == 1 else stop - start)
        behind = [opened for opened in self._open if opened[0] == shard and near <= opened[1] <= start]
        if not behind:
            return start, self.shards.rows(shard, start)
        best = max(behind, key=lambda opened: opened[1])
        self._open.remove(best)
        return best[1:]


def _mixed(rows: list[Row], seed: int | None, window: int, piece: int) -> list[Row]:
    """The same in an order that depends on the seed and the place in the epoch; in theirs without a seed."""
    if seed is None:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed_of(seed, window, piece)))
    return [rows[i] for i in order.tolist()]


def _where(shards: Shards, row: Row) -> str:
    """An example in words, with the name of its file where it has one."""
    place = shards.place(row.shard, row.index)
    name = row.x[0] if isinstance(row.x, tuple) else ""
    return f"{place} ({short(name, 200)})" if name and name not in place else place


def _content(x: Any) -> Any:
    """What is stored of an example, without the name of its file."""
    return x[1] if isinstance(x, tuple) else x


def _decoded(x: Any, like: Tensor | None, where: str, grey: bool = False) -> Tensor:
    """One example as the first one is: an image in its colours, an array as it is; finite."""
    x = _content(x)
    if callable(x):
        x = _fetched(x, where)
    if x is None:
        raise DataError(f"{where} is empty")
    if not isinstance(x, bytes):
        found = as_examples(as_tensor(x, where)[None], where)[0]
        if found.is_floating_point() and not found.isfinite().all():
            raise DataError(f"{where} holds a number that is not finite")
        return found
    from PIL import Image

    from vaekit.data.image_files import is_grey, pixels

    try:
        with Image.open(io.BytesIO(x)) as image:
            if like is not None and len(like) == 1 and not grey and not is_grey(image):
                raise DataError("is in colour, and the first is grey: data.grey=true makes all grey")
            return pixels(image, None if like is None else len(like))
    except DataError as error:
        raise DataError(f"{where} {error}") from None
    except Exception as error:  # the decoders of a dozen formats raise whatever they stumble over
        raise DataError(f"{where} is not a readable image: {type(error).__name__}") from None


def _fetched(read: Callable[[], bytes], where: str) -> bytes:
    try:
        return read()
    except VaekitError:
        raise
    except Exception as error:
        raise DataError(f"{where} cannot be read: {type(error).__name__}: {short(error, 200)}") from error


def _bytes(x: Any) -> int:
    """That an example takes in memory, with what Python adds."""
    content = _content(x)
    return _EACH + (len(content) if isinstance(content, bytes) else int(getattr(content, "nbytes", 0)))


_EACH = 512
