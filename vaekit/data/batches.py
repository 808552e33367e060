"""Batches of examples: shuffled, scaled and binarised per batch, on the device."""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

import torch
from torch import Tensor

from vaekit.blocks import seed_of
from vaekit.data.ahead import ahead
from vaekit.data.catalog import Examples, Lazy
from vaekit.data.streamed import Stream
from vaekit.errors import ConfigError

Batch = tuple[Tensor, Tensor | None]

SHARE_OF_DEVICE = 1 / 4
"""Of a GPU's memory, that held examples may take; larger sets stay in main memory, and batches are brought from there."""


class Batches:
    """Batches (x, y) of examples, x as floats with bytes scaled to [0, 1]; each iteration is one epoch.

    What is random (the order, a dynamic binarisation) depends on the seed, the number of the epoch and the place of the batch
    in it alone, so that a run can be repeated, and continued from any batch. Held examples stay on the device as they are
    stored, where they take at most SHARE_OF_DEVICE of its memory; others are brought there batch by batch, prepared ahead by
    threads, through pinned memory where the device is a GPU.

    Of a stream, each rank reads shards of its own, others in each epoch, which are cut where that makes their sizes equal. One
    rank has every example once an epoch. Several leave out what every rank's share of whole batches does, others each epoch.

    Args:
        examples: to make batches of.
        size: examples a batch; the last may be smaller.
        shuffle: whether each epoch has its own order.
        dynamic: whether x is drawn anew each time, as Bernoulli with its values as the probabilities.
        seed: what is random depends on.
        device: where batches are wanted.
        share: which part of each batch to give, and of how many: the batches of several ranks make up those of one. A last
            batch of fewer examples than that is left out of a shuffled epoch, in which every rank must have something to do.
    """

    def __init__(
        self,
        examples: Examples,
        size: int,
        *,
        shuffle: bool = False,
        dynamic: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if size < share[1]:
            raise ConfigError(f"a batch of {size} examples: at least {'one is' if share[1] == 1 else share[1]} needed")
        self.size, self.shuffle, self.dynamic, self.seed, self.share = size, shuffle, dynamic, seed, share
        self.device = torch.device(device)
        self.examples = len(examples)
        self.epoch = 0
        self._x = _placed(examples.x, self.device) if isinstance(examples.x, Tensor) else examples.x
        self._y = None if examples.y is None else examples.y.to(self.device)

    def __len__(self) -> int:
        whole, rest = divmod(self.examples, self.size)
        return whole + (rest >= (self.share[1] if self.shuffle else 1))

    def __iter__(self) -> Iterator[Batch]:
        """One epoch, that of the number `self.epoch`."""
        return self.after(0)

    def after(self, position: int) -> Iterator[Batch]:
        """What is left of the epoch once so many batches of it are done."""
        generator = torch.Generator(self.device)
        given = self._streamed(self._x, position) if isinstance(self._x, Stream) else self._held(position)
        with closing(given):
            for place, (stored, y) in enumerate(given, position):
                x = stored / 255 if stored.dtype == torch.uint8 else stored.to(torch.float32)
                if self.dynamic:
                    _, n = self.sizes(place)
                    generator.manual_seed(seed_of(self.seed, self.epoch, place, _PIXELS))
                    drawn = torch.rand(n, *x.shape[1:], generator=generator, device=self.device)[self._own(n)]
                    x = (drawn < x).to(x.dtype)
                if len(x):
                    yield x, y

    def sizes(self, position: int) -> tuple[int, int]:
        """How many examples the batch at a place in the epoch has: those of this share, and all."""
        n = min(self.size, self.examples - position * self.size)
        own = self._own(n)
        return own.stop - own.start, n

    def _own(self, n: int) -> slice:
        """This share of n examples."""
        part, parts = self.share
        return slice(n * part // parts, n * (part + 1) // parts)

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.examples)
        return torch.randperm(self.examples, generator=torch.Generator().manual_seed(seed_of(self.seed, self.epoch, _ORDER)))

    def _held(self, position: int) -> Generator[Batch, None, None]:
        """Batches as they are stored, on the device."""
        whole = self._order().split(self.size)[position : len(self)]
        for index, stored in self._stored([index[self._own(len(index))] for index in whole]):
            yield stored, None if self._y is None else self._y.index_select(0, index)

    def _streamed(self, x: Stream, position: int) -> Generator[Batch, None, None]:
        """Likewise, of a stream."""
        part, parts = self.share
        batches = [self.sizes(place)[1] for place in range(len(self))]
        start, stop = (sum(n * to // parts for n in batches) for to in (part, part + 1))
        own = [self.sizes(place)[0] for place in range(len(self))]
        if not any(own[position:]):
            return
        seed = seed_of(self.seed, self.epoch, _ORDER) if self.shuffle else None
        rows = x.rows(seed, start, stop, sum(own[:position]))
        with closing(x.examples(rows, x.far(max(own)))) as examples:
            for n in own[position:]:
                found = list(islice(examples, n))
                stored = torch.stack([one for one, _ in found]) if found else x.example.new_empty(0, *x.shape)
                y = torch.tensor([label for _, label in found], dtype=torch.int64) if x.shards.classes else None
                if self.device.type == "cuda":
                    stored, y = stored.pin_memory(), None if y is None else y.pin_memory()
                there = stored.to(self.device, non_blocking=True)
                yield there, None if y is None else y.to(self.device, non_blocking=True)

    def _stored(self, indices: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Where the examples of each batch are, and the examples as they are stored, on the device."""
        x = self._x
        if isinstance(x, Tensor) and x.device == self.device:
            for index in indices:
                index = index.to(self.device)
                yield index, x.index_select(0, index)
            return
        pinned = self.device.type == "cuda"

        def read(index: Tensor) -> Tensor:
            found = x.index_select(0, index) if isinstance(x, Tensor) else _read(x, index)
            return found.pin_memory() if pinned else found

        with closing(ahead(read, indices, 1 if isinstance(x, Tensor) else x.workers)) as every:
            for index, found in zip(indices, every, strict=True):
                yield index.to(self.device, non_blocking=True), found.to(self.device, non_blocking=True)


_ORDER, _PIXELS = 1, 2


def _placed(x: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and x.nbytes > torch.cuda.get_device_properties(device).total_memory * SHARE_OF_DEVICE:
        return x
    return x.to(device)


def _read(lazy: Lazy, index: Tensor) -> Tensor:
    if not len(index):
        return torch.empty(0, *lazy.shape)
    return torch.stack([lazy.read(i) for i in index.tolist()])
