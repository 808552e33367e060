"""Examples of shards that are never held: shuffled in windows, and decoded by threads shortly before they are used."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain, islice
from typing import Any

import torch
from torch import Tensor

from vaekit.blocks import seed_of
from vaekit.data.ahead import ahead
from vaekit.data.arrays import as_examples, as_tensor
from vaekit.data.shards import LANES, Row, Shards, Span, cut, part, shuffled, size, whole, windows
from vaekit.errors import ConfigError, DataError, VaekitError, short
from vaekit.shapes import Shape

WINDOW = 2**25
"""Bytes, as they are stored, of the examples that are shuffled at a time; two windows of them are held."""
AHEAD = 2**26
"""Bytes of decoded examples that are read ahead, two batches at most."""

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
        change: what is done to examples x (1, *shape) besides, and the number of each in the source.
        grey: whether images are made grey where they are not.
        checks: what each example must pass when it is read, before training or during it; each is told where it is from.
    """

    shards: Shards
    spans: tuple[Span, ...]
    first: Tensor
    stored: int
    change: Change | None = None
    grey: bool = False
    checks: list[Callable[[Tensor, str], None]] = field(default_factory=list)

    mixed = ""
    workers = min(16, os.cpu_count() or 1)

    @classmethod
    def of(cls, shards: Shards) -> "Stream":
        """All examples of some shards.

        Raises:
            DataError: where there are none, or the first cannot be read.
        """
        spans = whole(shards)
        if not spans:
            raise DataError(f"{shards.source} is empty")
        shard = spans[0].shard
        rows = _Reader(shards).rows(Span(shard, 0, min(spans[0].stop, _WEIGHED)))
        first = _decoded(rows[0].x, None, shards.place(shard, 0))
        return cls(shards, spans, first, max(_bytes(row.x) for row in rows))

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

        What is skipped is not read, but for what is in the window where it begins.

        Args:
            seed: of the order: that of the shards, LANES of which are read at a time, and that in each window.
            start: where those of this rank begin, in the order of the shards.
            stop: where they end.
            skip: how many of them to leave out.
        """
        spans = part(self.spans if seed is None else shuffled(self.spans, seed), start, len(self) if stop is None else stop)
        plan = enumerate(windows(spans, max(1, WINDOW // self.stored), 1 if seed is None else LANES))
        for begun in plan:
            if skip < size(begun[1]):
                break
            skip -= size(begun[1])
        else:
            return
        reader = _Reader(self.shards)

        def read(numbered: tuple[int, list[Span]]) -> list[Row]:
            number, window = numbered
            rows = [row for span in window for row in reader.rows(span)]
            if seed is None:
                return rows
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed_of(seed, number)))
            return [rows[i] for i in order.tolist()]

        for rows in ahead(read, chain([begun], plan), 1):
            yield from rows[skip:]
            skip = 0

    def decoded(self, row: Row) -> tuple[Tensor, int | None]:
        """An example and its class number.

        Raises:
            DataError: naming the one that is not as the others, or cannot be read.
        """
        where = self.shards.place(row.shard, row.index)
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
        yield from ahead(replace(self, shards=_Unlabelled(self.shards)).decoded, self._some(index), self.workers)

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
        self.classes = 0


class _Reader:
    """Reads spans; the last few shards that it has begun stay open, for whoever goes on there."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._open: dict[int, tuple[int, Iterator[tuple[Any, int | None]]]] = {}

    def rows(self, span: Span) -> list[Row]:
        """The examples of a span."""
        shard, start, stop = span
        found: list[Row] = []
        try:
            at, rows = self._open.pop(shard, (start + 1, iter(())))
            if at > start:
                at, rows = start, self.shards.rows(shard, start)
            for index, (x, label) in enumerate(islice(rows, stop - at), at):
                if index >= start:
                    found.append(Row(shard, index, x, label))
        except VaekitError:
            raise
        except Exception as error:
            where = self.shards.place(shard, start + len(found))
            raise DataError(f"{where} cannot be read: {type(error).__name__}: {short(error, 200)}") from error
        if len(found) < stop - start:
            where, n = self.shards.place(shard, start + len(found)), self.shards.lengths[shard]
            raise DataError(f"{where} is not there: {self.shards.source} was to have {n} examples in that shard")
        if stop < self.shards.lengths[shard]:
            self._open[shard] = stop, rows
            while len(self._open) > LANES:
                del self._open[next(iter(self._open))]
        return found


def _decoded(x: Any, like: Tensor | None, where: str, grey: bool = False) -> Tensor:
    """One example as the first one is: an image in its colours, an array as it is; finite."""
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


def _bytes(x: Any) -> int:
    """That an example takes in memory, with what Python adds."""
    return _EACH + (len(x) if isinstance(x, bytes) else int(getattr(x, "nbytes", 0)))


_EACH = 512
_WEIGHED = 64  # examples by which the size of all is judged
