"""Blocks in which torch is in a state that is put back after them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from threading import RLock

import torch
from torch import Tensor, nn

from vaekit.errors import ConfigError
from vaekit.shapes import Shape

DRAWING = RLock()
"""Held while torch's generators are seeded, and while plugins load, which may draw: one thread at a time."""


@contextmanager
def drawing(seed: int | None, device: torch.device) -> Iterator[None]:
    """A block that draws: from `seed`, with torch's generators put back after; one thread at a time."""
    with DRAWING:
        if seed is None:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            _seed(seed, device)
            yield


def _seed(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of `device` alone; torch.manual_seed would seed every device there is."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """A block in which `module` is in evaluation mode; each of its modules gets its own mode back."""
    training = [m for m in module.modules() if m.training]
    for m in training:
        m.training = False
    try:
        yield
    finally:
        for m in training:
            m.training = True


@contextmanager
def afforded(shape: Shape) -> Iterator[None]:
    """A block that works on data of a shape; where memory for that cannot be had, the error says how much they take.

    Raises:
        ConfigError: in place of torch's own error.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        wanted = re.search(r"[Tt]ried to allocate ([0-9.]+ \w+)", str(error))
        if wanted is None and not isinstance(error, MemoryError):
            raise
        asked = f", and {wanted[1]} were asked for" if wanted else ""
        raise ConfigError(
            f"there is not the memory: an example of shape {tuple(shape)} takes {4 * prod(shape):,} bytes{asked}; ask for fewer"
        ) from None


class Randomness:
    """A block in which torch's generators go on from where the last such block left them; outside, all is as it was.

    One thread at a time, as for `drawing`.

    Args:
        seed: what the first block starts from.
        device: whose generator is kept beside the CPU's.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.device, self.cuda = seed, device, [device] if device.type == "cuda" else []
        self.state: list[Tensor] = []

    def __enter__(self) -> None:
        DRAWING.acquire()
        self.outside = self._now()
        if self.state:
            self._set(self.state)
        else:
            _seed(self.seed, self.device)

    def __exit__(self, *_: object) -> None:
        self.state = self._now()
        self._set(self.outside)
        DRAWING.release()

    def _now(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(d) for d in self.cuda)]

    def _set(self, state: list[Tensor]) -> None:
        torch.set_rng_state(state[0])
        for device, theirs in zip(self.cuda, state[1:], strict=True):
            torch.cuda.set_rng_state(theirs, device)


def find_device(name: str) -> torch.device:
    """The device of that name; a GPU where there is one for `auto`.

    Raises:
        ConfigError: where there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        if found.type not in ("cpu", "cuda", "mps", "xpu"):
            raise ConfigError(f"no device {name!r}: give auto, cpu, cuda, cuda:1, mps or xpu")
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"no device {name!r} here: {str(error).splitlines()[0][:160]}") from None
    return found
