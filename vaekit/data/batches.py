"""Batches of examples: shuffled, scaled and binarised per batch, on the device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaekit.data.ahead import ahead
from vaekit.data.catalog import Examples, Lazy
from vaekit.errors import ConfigError

Batch = tuple[Tensor, Tensor | None]


class Batches:
    """Batches (x, y) of examples, x as floats with bytes scaled to [0, 1]; each iteration is one epoch.

    What is random (the order, a dynamic binarisation) depends on the seed and the number of the epoch alone, so that a run can
    be repeated and continued. Held examples stay on the device as they are stored, where they take at most a quarter of its
    memory; others are brought there batch by batch, or read ahead by threads.

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
        self._x = _placed(examples.x, self.device) if isinstance(examples.x, Tensor) else examples.x
        self._y = None if examples.y is None else examples.y.to(self.device)

    def __len__(self) -> int:
        return -(-self.examples // self.size)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch, that of the number `self.epoch`."""
        generator = torch.Generator(self.device).manual_seed(self._stream(_PIXELS))
        for index, stored in self._stored(self._order()):
            x = stored.to(torch.float32) / 255 if stored.dtype == torch.uint8 else stored.to(torch.float32)
            if self.dynamic:
                x = (torch.rand(x.shape, generator=generator, device=self.device) < x).to(x.dtype)
            yield x, None if self._y is None else self._y[index]

    def _order(self) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.examples)
        return torch.randperm(self.examples, generator=torch.Generator().manual_seed(self._stream(_ORDER)))

    def _stream(self, purpose: int) -> int:
        """A seed for one purpose: streams from one seed would tie the order to the pixels, and both to the model's draws."""
        return (epoch_seed(self.seed, self.epoch) + purpose) % 2**63

    def _stored(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        indices = order.split(self.size)
        if isinstance(self._x, Tensor):
            for index in indices:
                yield index.to(self.device), self._x[index.to(self._x.device)].to(self.device)
        else:
            for index, x in zip(indices, _read(self._x, indices), strict=True):
                yield index.to(self.device), x.to(self.device)


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for each epoch of each run."""
    return (seed * 1_000_003 + epoch) % 2**63


_ORDER, _PIXELS = 0x55555555, 0xAAAAAAAA  # far apart in the lower 32 bits, which are all that torch heeds on the CPU


def _placed(x: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda" and x.nbytes > torch.cuda.get_device_properties(device).total_memory / 4:
        return x
    return x.to(device)


def _read(lazy: Lazy, indices: tuple[Tensor, ...]) -> Iterator[Tensor]:
    return ahead(lambda index: torch.stack([lazy.read(i) for i in index.tolist()]), indices, lazy.workers)
