"""Blocks in which torch is in a state that is put back after them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from math import prod
from threading import RLock

import torch
from torch import nn

from vaekit.errors import ConfigError, short
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


def reseed(device: torch.device, *purpose: int) -> None:
    """Seed the generators of the CPU and of `device` for one purpose, inside a block that draws.

    Args:
        device: whose generator is seeded beside the CPU's.
        purpose: numbers that say what for; where any of them differs, the draws are unrelated.
    """
    _seed(seed_of(*purpose), device)


def seed_of(*purpose: int) -> int:
    """A seed for one purpose; where any of its numbers differs, so does every bit of the seed as likely as not."""
    told = ",".join(map(str, purpose)).encode()
    return int.from_bytes(blake2b(told, digest_size=8).digest(), "little") >> 1  # of 63 bits, as torch takes them


@contextmanager
def threads(n: int) -> Iterator[None]:
    """A block in which torch computes on so many threads."""
    before = torch.get_num_threads()
    if n == before:
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find_device(name: str) -> torch.device:
    """The device of that name; a GPU where there is one for `auto`.

    Raises:
        ConfigError: where there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
        raise ConfigError(f"no device {name!r}: give auto, cpu, cuda, cuda:1, mps or xpu")
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        there = ["cpu", *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()) if accelerator)]
        why = str(error).partition("\n")[0].partition(". ")[0]  # further on are addresses of drivers
        raise ConfigError(f"no device {name!r} here, where there is {', '.join(there)} ({short(why)})") from None
    return found
