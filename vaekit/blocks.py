"""Blocks in which torch is in a state that is put back after them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch
from torch import Tensor, nn

from vaekit.errors import ConfigError

_LOCK = RLock()


@contextmanager
def drawing(seed: int | None, device: torch.device) -> Iterator[None]:
    """A block that draws: from `seed`, with torch's generators put back after; one thread at a time."""
    with _LOCK:
        if seed is None:
            yield
            return
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield


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


class Randomness:
    """A block in which torch's generators go on from where the last such block left them; outside, all is as it was.

    Args:
        seed: what the first block starts from.
        device: whose generator is kept beside the CPU's.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed, self.cuda = seed, [device] if device.type == "cuda" else []
        self.state: list[Tensor] = []

    def __enter__(self) -> None:
        self.outside = self._now()
        if self.state:
            self._set(self.state)
        else:
            torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        self.state = self._now()
        self._set(self.outside)

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
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return found
