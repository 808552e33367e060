"""What people give as data, as a Raw data set: a name, arrays, or a torch Dataset."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vaekit.data.catalog import Examples, Raw, can_hold
from vaekit.errors import ConfigError, DataError
from vaekit.registry import dataset
from vaekit.shapes import Shape


def read(source: Any, root: Path) -> tuple[str, Raw]:
    """The name of the data and their examples.

    Raises:
        UnknownPart: where there is no data set of that name.
        ConfigError: where a path is missing or not wanted.
        DataError: where the data cannot be read.
    """
    if isinstance(source, str):
        return _named(source, root)
    if isinstance(source, Raw):
        return "data", source
    if isinstance(source, IterableDataset):
        raise DataError("an IterableDataset has no length: give a map-style Dataset, arrays or the name of a data set")
    if isinstance(source, Dataset):
        return "data", Raw({"train": _items(source)})
    x, y = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    try:
        return "data", Raw({"train": Examples.of(x, y)})
    except (TypeError, ValueError, RuntimeError) as error:
        given = type(source).__name__
        raise DataError(f"data are a name, arrays x or (x, y), or a torch Dataset, not {given}: {error}") from None


def _named(source: str, root: Path) -> tuple[str, Raw]:
    name, colon, path = source.partition(":")
    found = dataset(name)
    if found.takes_path and not path:
        raise ConfigError(f"data set {name!r} takes a path: {name}:PATH")
    if colon and not found.takes_path:
        raise ConfigError(f"data set {name!r} takes no path; --data-root or VAEKIT_DATA says where it is")
    return name, found.load(path, root)


def _items(items: "Dataset[Any]") -> Examples:
    n = len(items)  # type: ignore[arg-type]
    if not n:
        raise DataError("the Dataset is empty")
    lazy = _Items(items, n)
    first, _ = lazy.pair(0)
    held = torch.empty(n, *first.shape, dtype=first.dtype) if can_hold(n, first) else None
    labels: list[int] = []
    for index in range(n):
        x, label = lazy.pair(index)
        if x.shape != first.shape:
            raise DataError(f"item {index} of the Dataset has shape {tuple(x.shape)}, the first {tuple(first.shape)}")
        if held is not None:
            held[index] = x
        if label is not None:
            labels.append(label)
    y = torch.tensor(labels) if labels else None
    return Examples.of(held, y, "the Dataset") if held is not None else Examples(lazy, y)


class _Items:
    """The items of a torch Dataset too large to hold; read by one thread, since nobody promised more."""

    mixed = ""
    workers = 1

    def __init__(self, items: "Dataset[Any]", n: int) -> None:
        self.items, self.n = items, n
        self.shape: Shape = tuple(self.read(0).shape)

    def __len__(self) -> int:
        return self.n

    def read(self, index: int) -> Tensor:
        return self.pair(index)[0]

    def pair(self, index: int) -> tuple[Tensor, int | None]:
        item = self.items[index]
        x, y = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
        try:
            return torch.as_tensor(x), None if y is None else int(y)
        except (TypeError, ValueError, RuntimeError) as error:
            wanted = "a tensor, or a pair of a tensor and a class number"
            raise DataError(f"item {index} of the Dataset is not {wanted}: {error}") from None
