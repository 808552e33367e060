"""Batches of examples: shuffled, scaled and binarised per batch, on the device."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vaekit.data.catalog import Examples, Lazy
from vaekit.errors import ConfigError

Batch = tuple[Tensor, Tensor | None]


class Batches:
    """Batches (x, y) of examples, x as floats with bytes scaled to [0, 1]; each iteration is one epoch.

    What is random (the order, a dynamic binarisation) depends on the seed and the number of the epoch alone, so that a run can
    be repeated and continued. Held examples stay on the device as they are stored; others are read ahead by threads.

    Args:
        examples: to make batches of.
        size: examples a batch; the last may be smaller.
        shuffle: whether each epoch has its own order.
        dynamic: whether x is drawn anew each time, as Bernoulli with its values as the probabilities.
        seed: what is random depends on.
        device: where batches are wanted.
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
    ) -> None:
        if size < 1:
            raise ConfigError(f"a batch of {size} examples: at least one is needed")
        self.size, self.shuffle, self.dynamic, self.seed = size, shuffle, dynamic, seed
        self.device = torch.device(device)
        self.examples = len(examples)
        self.epoch = 0
        self._x = examples.x.to(self.device) if isinstance(examples.x, Tensor) else examples.x
        self._y = None if examples.y is None else examples.y.to(self.device)

    def __len__(self) -> int:
        return -(-self.examples // self.size)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch, that of the number `self.epoch`."""
        generator = torch.Generator(self.device).manual_seed(epoch_seed(self.seed, self.epoch))
        order = self._order()
        for index, stored in self._stored(order):
            x = stored.to(torch.float32) / 255 if stored.dtype == torch.uint8 else stored
            if self.dynamic:
                x = (torch.rand(x.shape, generator=generator, device=self.device) < x).to(x.dtype)
            yield x, None if self._y is None else self._y[index]

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.examples)
        return torch.randperm(self.examples, generator=torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch)))

    def _stored(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        indices = order.split(self.size)
        if isinstance(self._x, Tensor):
            for index in indices:
                index = index.to(self.device)
                yield index, self._x[index]
        else:
            for index, x in zip(indices, _read_ahead(self._x, indices), strict=True):
                yield index.to(self.device), x.to(self.device)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch of each run."""
    return (seed * 1_000_003 + epoch) % 2**63


def _read_ahead(lazy: Lazy, indices: tuple[Tensor, ...]) -> Iterator[Tensor]:
    def read(index: Tensor) -> Tensor:
        return torch.stack([lazy.read(i) for i in index.tolist()])

    with ThreadPoolExecutor(lazy.workers) as pool:
        waiting: list[Future[Tensor]] = []
        for index in indices:
            waiting.append(pool.submit(read, index))
            if len(waiting) > lazy.workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
