"""What a data set is before anything is done to it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vaekit.data.arrays import as_examples, as_tensor, class_numbers
from vaekit.data.shards import Shards
from vaekit.data.streamed import Stream
from vaekit.errors import DataError
from vaekit.shapes import Shape


class Lazy(Protocol):
    """Examples that are read when they are needed, because together they are too many to hold."""

    mixed: str
    """Which examples are of another shape, in words, where some are; they are brought to one size before use."""

    @property
    def workers(self) -> int:
        """How many threads may read at once."""

    @property
    def shape(self) -> Shape:
        """Of one example as `read` gives it; images are (C, H, W)."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tensor:
        """One example: uint8, or floats.

        Raises:
            DataError: naming the file that cannot be read.
        """


@dataclass(frozen=True)
class Examples:
    """Examples with their labels; `Examples.of` makes them of arrays of other types and layouts.

    Args:
        x: (N, *shape), uint8 (0 to 255, standing for 0 to 1) or float32; or Lazy.
        y: class numbers (N,), or None; those of a stream come with its examples.
        numbers: of the examples in their source (N,), where they are some of those there.
        factors: what each example was made of (N, F), each a class number, where that is known; `vaekit evaluate` says how well
            the codes tell them apart.

    Raises:
        DataError: for another type, or labels or factors that are not one each.
    """

    x: Tensor | Lazy
    y: Tensor | None = None
    numbers: Tensor | None = None
    factors: Tensor | None = None

    def __post_init__(self) -> None:
        if isinstance(self.x, Tensor) and self.x.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"examples are of {self.x.dtype}: uint8 or float32 is wanted (Examples.of brings others to these)")
        if self.y is not None and self.y.shape != (len(self.x),):
            raise DataError(
                f"{len(self.x)} examples have labels of shape {tuple(self.y.shape)}: one class number each is wanted"
            )

        if self.factors is not None and (self.factors.dim() != 2 or len(self.factors) != len(self.x)):
            raise DataError(f"{len(self.x)} examples have factors of shape {tuple(self.factors.shape)}: (N, F) is wanted")

    @classmethod
    def of(cls, x: Any, y: Any = None, source: str = "the array") -> "Examples":
        """Arrays or tensors as examples: bytes (N, H, W) as images (1, H, W), images (N, H, W, C) as (C, H, W), booleans, or
        bytes of nothing but 0 and 1, as black and white, floats as they are.

        Raises:
            DataError: for numbers of another type or shape, or labels that are not class numbers, one each.
        """
        x = as_examples(as_tensor(x, source), source)
        if x.dtype == torch.uint8 and len(x) and int(x.max()) == 1:
            x = x * 255
        return cls(x, None if y is None else class_numbers(y, len(x), source))

    @classmethod
    def streamed(cls, shards: Shards) -> "Examples":
        """Examples in shards, which are never held together.

        Raises:
            DataError: where there are none, or the first cannot be read.
        """
        return cls(Stream.of(shards))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """Of one example."""
        return tuple(self.x.shape[1:]) if isinstance(self.x, Tensor) else self.x.shape

    def take(self, index: Tensor) -> "Examples":
        """Those at the given places; those of a stream are read and held."""
        if isinstance(self.x, Stream):
            order = index.argsort()
            held, labels = self.x.held(index[order].tolist())
            return Examples(held, labels, index).take(order.argsort())
        x = self.x[index] if isinstance(self.x, Tensor) else _Some(self.x, index.tolist())
        y, factors = (None if own is None else own[index] for own in (self.y, self.factors))
        return Examples(x, y, index if self.numbers is None else self.numbers[index], factors)


@dataclass(frozen=True)
class Raw:
    """A data set as its source gives it: named splits of examples.

    Args:
        splits: `train`, and where the source has them `validation` and `test`; what is missing is cut from `train`.
        classes: the names of the classes, in the order of their numbers; the numbers themselves where none are given.
        source: the name by which these very data are found again, where that is another than the one they were found by.
    """

    splits: dict[str, Examples]
    classes: tuple[str, ...] = ()
    source: str | None = None


def split_named(name: str) -> str:
    """The split that people mean by a name such as `val`; nothing where it is none."""
    return _SPLIT_NAMES.get(name.lower(), "")


_SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class DataSet:
    """A data set by name; a plugin brings it through the hook `vaekit_datasets`.

    Args:
        name: what users type; `name:PATH` where it takes a path.
        summary: one line for `vaekit data`.
        load: from the path (empty where none is taken) and the data root to the examples; raises DataError.
        takes_path: whether a path follows the name.
    """

    name: str
    summary: str
    load: Callable[[str, Path], Raw]
    takes_path: bool = False


def can_hold(n: int, example: Tensor) -> bool:
    """Whether `n` such examples fit into a quarter of the memory, or of this process' share where several train together."""
    return n * example.nbytes <= _memory() / 4 / max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _memory() -> int:
    """Bytes that the machine has, or the container."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every system
        there = 8 * 2**30
    try:
        return min(there, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no container, or one without a limit
        return there


class _Some:
    """Some of the examples of a Lazy."""

    def __init__(self, lazy: Lazy, index: list[int]) -> None:
        self.lazy, self.index, self.shape, self.mixed = lazy, index, lazy.shape, lazy.mixed
        self.workers = lazy.workers

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: int) -> Tensor:
        return self.lazy.read(self.index[index])
