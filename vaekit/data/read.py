"""What people give as data, as a Raw data set: a name, arrays, or a torch Dataset."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from vaekit.data.arrays import as_examples, as_tensor, class_numbers
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
    if isinstance(source, Examples):
        return "data", Raw({"train": source})
    if isinstance(source, IterableDataset):
        raise DataError("an IterableDataset has no length: give a map-style Dataset, arrays or the name of a data set")
    if isinstance(source, Dataset):
        return "data", Raw({"train": _items(source)})
    x, y = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    try:
        return "data", Raw({"train": Examples.of(x, y)})
    except DataError as error:
        if isinstance(source, Tensor | np.ndarray | tuple | list):
            raise
        given = type(source).__name__
        raise DataError(f"data are a name, arrays x or (x, y), or a torch Dataset, not {given}: {error}") from None


def _named(source: str, root: Path) -> tuple[str, Raw]:
    name, colon, path = source.partition(":")
    if not colon and os.sep in source:
        raise ConfigError(f"{source!r} is a path: say what is there, as folder:PATH, npy:PATH, npz:PATH or idx:PATH")
    found = dataset(name)
    if found.takes_path and not path:
        raise ConfigError(f"data set {name!r} takes a path: {name}:PATH")
    if colon and not found.takes_path:
        raise ConfigError(f"data set {name!r} takes no path; --data-root or VAEKIT_DATA says where it is")
    return name, found.load(path, root)


def _items(items: "Dataset[Any]") -> Examples:
    lazy = _Items(items)
    first, _ = lazy.pair(0)
    held = torch.empty(len(lazy), *first.shape, dtype=first.dtype) if can_hold(len(lazy), first) else None
    labels: list[int | None] = []
    brightest = 0
    for index in range(len(lazy)):
        x, label = lazy.pair(index)
        if (x.shape, x.dtype) != (first.shape, first.dtype):
            found = f"{x.dtype} {tuple(x.shape)}, the first of {first.dtype} {tuple(first.shape)}"
            raise DataError(f"item {index} of the Dataset is of {found}")
        if held is not None:
            held[index] = x
        if (label is None) != (labels[:1] == [None]) and index:
            raise DataError(
                f"item {index} of the Dataset {'has no label' if label is None else 'has a label'}, unlike the first"
            )
        labels.append(label)
        brightest = max(brightest, int(x.max()) if x.dtype == torch.uint8 else 255)
    y = None if labels[0] is None else torch.tensor(labels)
    lazy.bits = brightest == 1
    return Examples(lazy, y) if held is None else Examples(held * 255 if lazy.bits else held, y)


class _Items:
    """The items of a torch Dataset; read by one thread, since nobody promised more.

    Attributes:
        bits: whether all bytes are 0 or 1, found out by whoever reads them all.
    """

    mixed = ""
    workers = 1

    def __init__(self, items: "Dataset[Any]") -> None:
        self.items = items
        self.bits = False
        try:
            self.n = len(items)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError) as error:
            raise DataError(f"the Dataset has no length: {error}") from None
        if not self.n:
            raise DataError("the Dataset is empty")
        self.shape: Shape = tuple(self.read(0).shape)

    def __len__(self) -> int:
        return self.n

    def read(self, index: int) -> Tensor:
        x = self.pair(index)[0]
        return x * 255 if self.bits else x

    def pair(self, index: int) -> tuple[Tensor, int | None]:
        """One item as it is stored, and its class number."""
        source = f"item {index} of the Dataset"
        try:
            item = self.items[index]
        except Exception as error:
            raise DataError(f"{source} cannot be read: {type(error).__name__}: {error}") from error
        x, *y = item if isinstance(item, tuple | list) else (item,)
        if len(y) > 1:
            raise DataError(f"{source} has {len(y) + 1} parts: x, or x and a class number, are wanted")
        label = int(class_numbers(as_tensor(y[0], source).reshape(-1), 1, source)) if y else None
        return as_examples(as_tensor(x, source)[None], source)[0], label
