"""What a data set is before anything is done to it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vaekit.errors import DataError
from vaekit.shapes import Shape


class Lazy(Protocol):
    """Examples that are read when they are needed, because together they are too many to hold."""

    shape: Shape
    """Of one example as `read` gives it; images are (C, H, W)."""
    mixed: str
    """Which examples are of another shape, in words, where some are; they are brought to one size before use."""

    workers: int
    """How many threads may read at once."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> Tensor:
        """One example: uint8, or floats.

        Raises:
            DataError: naming the file that cannot be read.
        """


@dataclass(frozen=True)
class Examples:
    """Examples with their labels.

    Args:
        x: (N, *shape), uint8 (0 to 255, standing for 0 to 1) or floats; or Lazy.
        y: class numbers (N,), or None.
    """

    x: Tensor | Lazy
    y: Tensor | None = None

    @classmethod
    def of(cls, x: Any, y: Any = None, source: str = "the array") -> "Examples":
        """Arrays or tensors as examples: bytes (N, H, W) or (N, H, W, C) as images (C, H, W), booleans as 0 and 1, floats as
        they are.

        Raises:
            DataError: for numbers of another type or shape, or labels that are not class numbers, one each.
        """
        x = torch.as_tensor(x)
        if x.dtype == torch.bool:
            x = x.to(torch.uint8) * 255
        if x.dtype == torch.uint8:
            if x.dim() == 3:
                x = x[:, None]
            elif x.dim() == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
                x = x.permute(0, 3, 1, 2)
        elif x.is_floating_point():
            x = x.float()
        else:
            raise DataError(f"{source} is of {x.dtype}: give bytes (0 to 255) or floats")
        if not 2 <= x.dim() <= 4:
            wanted = "(N, features), (N, steps, features) or (N, channels, height, width)"
            raise DataError(f"{source} has shape {tuple(x.shape)}: give {wanted}")
        return cls(x.contiguous(), None if y is None else _labels(y, len(x), source))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """Of one example."""
        return tuple(self.x.shape[1:]) if isinstance(self.x, Tensor) else self.x.shape

    def take(self, index: Tensor) -> "Examples":
        """Those at the given places."""
        y = None if self.y is None else self.y[index]
        return Examples(self.x[index] if isinstance(self.x, Tensor) else _Some(self.x, index.tolist()), y)


@dataclass(frozen=True)
class Raw:
    """A data set as its source gives it: named splits of examples.

    Args:
        splits: `train`, and where the source has them `validation` and `test`; what is missing is cut from `train`.
        classes: the names of the classes, in the order of their numbers; the numbers themselves where none are given.
    """

    splits: dict[str, Examples]
    classes: tuple[str, ...] = ()


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
    """Whether `n` such examples fit into a quarter of the machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return n * example.numel() * example.element_size() <= memory / 4


def _labels(y: Any, n: int, source: str) -> Tensor:
    labels = torch.as_tensor(y)
    if labels.dim() != 1 or len(labels) != n:
        raise DataError(f"{source} has {n} examples and labels of shape {tuple(labels.shape)}: give one class number each")
    if labels.is_floating_point() or labels.dtype == torch.bool or (n and int(labels.min()) < 0):
        raise DataError(f"the labels of {source} are not class numbers from 0")
    return labels.long()


class _Some:
    """Some of the examples of a Lazy."""

    def __init__(self, lazy: Lazy, index: list[int]) -> None:
        self.lazy, self.index, self.shape, self.mixed = lazy, index, lazy.shape, lazy.mixed
        self.workers = lazy.workers

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: int) -> Tensor:
        return self.lazy.read(self.index[index])
