"""From a data set as its source gives it to examples ready for training: three splits, transformed, held where they fit."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.config import DataInfo
from vaekit.data.catalog import Examples, Raw
from vaekit.data.read import read
from vaekit.data.streamed import Stream
from vaekit.data.transform import DataOptions, transform
from vaekit.errors import ConfigError, DataError
from vaekit.shapes import Shape

SPLITS = ("train", "validation", "test")
MOST_OF_STREAM = 10_000
"""Examples of a validation or test split of a stream, which are held."""


@dataclass(frozen=True)
class Data:
    """Three disjoint splits of examples, and what a model's config says of them.

    Args:
        train: what is learnt from.
        validation: what early stopping and the choice of the best model look at.
        test: what nothing looks at before the end.
        info: for the config.
        source: the name by which these very data are found again, `hf:USER/NAME@COMMIT` for those of the Hub; None where they
            were given as arrays or the like.
    """

    train: Examples
    validation: Examples
    test: Examples
    info: DataInfo
    source: str | None = None

    @property
    def shape(self) -> Shape:
        """Of one example."""
        return self.train.shape


def load(source: Any, options: DataOptions | None = None, root: str | Path | None = None) -> Data:
    """A data set by name, or arrays, tensors or a torch Dataset, ready for training.

    A torch Dataset is read once and held where it fits into memory; what it draws at random is drawn then.

    Args:
        source: a name (`mnist`, `folder:PATH`); an array or tensor x; a pair (x, y); a map-style Dataset of x or (x, y); or
            Examples, or a Raw with splits of its own.
        options: what to do to it.
        root: where named data sets are, or are downloaded to: else the environment's VAEKIT_DATA, else a cache folder.

    Raises:
        UnknownPart: where there is no data set of that name.
        ConfigError: where an option does not fit the data.
        DataError: naming the file or example that is wrong.
    """
    options = options or DataOptions()
    name, raw = read(source, data_root(root))
    parts = _split(name, raw, options)
    held = sum(len(examples) for split, examples in parts.items() if split != "train" or not isinstance(examples.x, Stream))
    splits = {split: transform(examples, options, split, held) for split, examples in parts.items()}
    train = splits["train"]
    for split, examples in splits.items():
        if examples.shape != train.shape:
            raise DataError(f"{name}: train has examples of shape {train.shape}, {split} of {examples.shape}")
    info = DataInfo(
        name=name,
        classes=_classes(name, raw),
        examples=len(train),
        binarize=options.binarize,
        seed=options.seed if options.binarize in ("fixed", "dynamic") else 0,
        resize=options.size,
        crop=options.crop,
        grey=options.grey,
        bytes=_dtype(train) == torch.uint8,
    )
    found = raw.source or (source if isinstance(source, str) else None)
    return Data(splits["train"], splits["validation"], splits["test"], info, found)


def _dtype(examples: Examples) -> torch.dtype:
    x = examples.x
    return (x if isinstance(x, Tensor) else x.example if isinstance(x, Stream) else x.read(0)).dtype


def one(source: Any, options: DataOptions, split: str, root: str | Path | None = None) -> tuple[Examples, tuple[str, ...]]:
    """One split as `load` gives it, and the names of the classes; the images of the others are not decoded.

    Args:
        source: as for `load`.
        options: what to do to it.
        split: `train`, `validation` or `test`.
        root: as for `load`.

    Raises:
        DataError: and others, as `load` does.
    """
    name, raw = read(source, data_root(root))
    return transform(_split(name, raw, options)[split], options, split), _classes(name, raw)


def data_root(given: str | Path | None = None) -> Path:
    """Where named data sets are: as given, else VAEKIT_DATA, else `data` in VAEKIT_CACHE or the user's cache."""
    return Path(given or os.environ.get("VAEKIT_DATA") or cache() / "data").expanduser()


def cache() -> Path:
    """Where what can be made again is kept: VAEKIT_CACHE, else the user's cache."""
    return Path(os.environ.get("VAEKIT_CACHE") or Path.home() / ".cache" / "vaekit").expanduser()


def _split(name: str, raw: Raw, options: DataOptions) -> dict[str, Examples]:
    """The three splits. What the source lacks is cut from its training examples, the same ones whatever the run's seed."""
    splits = dict(raw.splits)
    if "train" not in splits or not set(splits) <= set(SPLITS):
        raise DataError(
            f"{name} has splits {', '.join(splits) or 'of no name'}: train is needed, validation and test may be there"
        )
    for split, examples in splits.items():
        if not len(examples):
            raise DataError(f"the {split} split of {name} is empty")
    for split, wanted in (("test", options.test), ("validation", options.validation)):
        if split in splits:
            if wanted is not None:
                raise ConfigError(f"{name} has a {split} split of its own: leave out data.{split}")
            own = splits[split].x
            if isinstance(own, Stream) and len(own) > MOST_OF_STREAM:
                splits[split] = Examples(own.cut(MOST_OF_STREAM)[0])
            continue
        n = len(splits["train"])
        size = wanted or min(5000, max(1, n // 10))
        if size >= n:
            raise DataError(f"{name} has {n} {'example' if n == 1 else 'examples'} to train on: {size} for {split} leave none")
        x = splits["train"].x
        if isinstance(x, Stream):
            head, rest = x.cut(size)
            splits[split], splits["train"] = Examples(head), Examples(rest)
            continue
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
        splits[split] = splits["train"].take(order[:size].sort().values)
        splits["train"] = splits["train"].take(order[size:].sort().values)
    return {split: splits[split] for split in SPLITS}


def _classes(name: str, raw: Raw) -> tuple[str, ...]:
    labels = [examples.y for examples in raw.splits.values() if examples.y is not None]
    count = 1 + max((int(y.max()) for y in labels), default=-1)
    if max(count, len(raw.classes)) > _MOST_CLASSES:
        raise DataError(f"{name} has {max(count, len(raw.classes)):,} classes: {_MOST_CLASSES:,} are the most")
    if raw.classes and count > len(raw.classes):
        raise DataError(f"a label of {name} is {count - 1}, but there are {len(raw.classes)} classes")
    return tuple(map(_bounded, raw.classes)) or tuple(map(str, range(count)))


_MOST_CLASSES = 10_000  # that a config lists


def _bounded(name: str) -> str:
    """A class's name as configs may hold it: at most 64 characters, all of them Unicode, which names of folders need not be."""
    return name.encode("utf-8", "replace").decode()[:64]
