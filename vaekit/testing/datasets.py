"""What data sets are held to."""

import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.ambient import Ambient
from vaekit.config import is_name
from vaekit.data.batches import Batches
from vaekit.data.catalog import DataSet, Examples, Raw
from vaekit.data.prepare import data_root, load
from vaekit.errors import ConfigError, DataError
from vaekit.shapes import feature_axis
from vaekit.testing.case import require
from vaekit.testing.outcomes import NotApplicable

_FIRST = 64  # examples of each split that are looked at


class DataCase:
    """A data set to be checked.

    Args:
        dataset: which.
        options: `path`, for a data set that takes one.
    """

    def __init__(self, dataset: DataSet, options: Mapping[str, Any] | None = None) -> None:
        unknown = set(options or {}) - ({"path"} if dataset.takes_path else set())
        if unknown:
            takes = "only 'path'" if dataset.takes_path else "none"
            raise ConfigError(f"data set {dataset.name!r} has no option {min(unknown)!r} (options: {takes})")
        self.part, self.given, self.at = dataset, dict(options or {}), ""

    @cached_property
    def raw(self) -> Raw:
        """What it loads.

        Raises:
            NotApplicable: where its data are not at hand.
        """
        return self.load()

    def load(self) -> Raw:
        """Load it once more, without the network."""
        if self.part.takes_path and "path" not in self.given:
            raise NotApplicable("it takes a path: give one, as (DATASET, {'path': …}) or `vaekit check NAME:PATH`")
        try:
            with _offline():
                return self.part.load(str(self.given.get("path", "")), data_root(None))
        except DataError as error:
            if self.part.takes_path:
                raise
            raise NotApplicable(f"its data are not at hand: {error}") from error


def check_is_named(case: DataCase) -> None:
    """It has a legal name, and one line that says what it is."""
    name, summary = case.part.name, case.part.summary
    require(is_name(name), f"its name is {name!r}; a name is lower-case letters and digits with hyphens")
    require(
        bool(summary.strip()) and "\n" not in summary and len(summary) <= 120, f"its summary is {summary!r}: one line of text"
    )


def check_splits(case: DataCase) -> None:
    """It has examples to train on, all of one shape, finite."""
    splits = case.raw.splits
    require("train" in splits, f"it has splits {', '.join(splits) or 'of no name'}: 'train' is needed")
    odd = sorted(splits.keys() - {"train", "validation", "test"})
    require(not odd, f"it has a split {odd and odd[0]!r}: there are train, validation and test")
    shape = splits["train"].shape
    feature_axis(shape)
    for name, examples in splits.items():
        require(len(examples) > 0, f"its {name} split is empty")
        require(examples.shape == shape, f"examples of {name} have shape {examples.shape}, those of train {shape}")
        x = _some(examples)
        require(bool(x.float().isfinite().all()), f"its {name} split holds numbers that are not finite")
        pixels = x.is_floating_point() and len(shape) == 3
        require(
            not pixels or bool(((x >= 0) & (x <= 1)).all()),
            f"images of {name} hold numbers from {x.min():.4g} to {x.max():.4g}: give bytes, or floats from 0 to 1",
        )
        copied = name != "train" and len(examples) == len(splits["train"]) and torch.equal(x, _some(splits["train"]))
        require(not copied, f"its {name} split is its training examples again: leave it out, and it is cut from them")


def check_labels(case: DataCase) -> None:
    """Labels are class numbers, and every class has a name of its own."""
    classes = case.raw.classes
    require(len(set(classes)) == len(classes), "two of its classes have the same name")
    for name, examples in case.raw.splits.items():
        if examples.y is not None:
            require(examples.y.dtype == torch.int64, f"labels of {name} are {examples.y.dtype}: class numbers are int64")
            low, high = int(examples.y.min()), int(examples.y.max())
            require(low >= 0, f"a label of {name} is {low}")
            require(not classes or high < len(classes), f"a label of {name} is {high}, and {len(classes)} classes have names")


def check_loads_the_same_twice(case: DataCase) -> None:
    """It loads the same examples every time."""
    again = case.load()
    for name, examples in case.raw.splits.items():
        other = again.splits[name]
        require(len(other) == len(examples), f"{name} has {len(examples)} examples, then {len(other)}")
        require(torch.equal(_some(examples), _some(other)), f"the examples of {name} differ from one loading to the next")
        if examples.y is not None and other.y is not None:
            require(torch.equal(examples.y, other.y), f"the labels of {name} differ from one loading to the next")


def check_trains(case: DataCase) -> None:
    """It can be trained on: split, transformed and drawn in batches."""
    data = load(case.raw)
    x, y = next(iter(Batches(data.train, 8)))
    require(tuple(x.shape[1:]) == data.shape and x.is_floating_point(), f"a batch is of shape {tuple(x.shape)} and {x.dtype}")
    require(y is None or len(y) == len(x), "a batch has labels, but not one for each example")


def check_loading_changes_no_global_state(case: DataCase) -> None:
    """Loading it changes no global state, random generators included."""
    before = Ambient.now()
    try:
        case.load()
        changed = before.changes()
        require(not changed, f"{'; '.join(changed)}: draw from a torch.Generator of its own")
    finally:
        before.restore()


def check_absent_data(case: DataCase) -> None:
    """Where its data are not, it says so by a DataError that names the place."""
    with tempfile.TemporaryDirectory() as empty, _offline():
        path = str(Path(empty, "no-such-data")) if case.part.takes_path else ""
        try:
            case.part.load(path, Path(empty))
        except DataError as error:
            require(empty in str(error), f"the error does not name {'the path' if path else 'the data root'}: {error}")
        else:
            require(not path, "a path to nothing is loaded without an error")


def _some(examples: Examples) -> Tensor:
    n = min(_FIRST, len(examples))
    return examples.x[:n] if isinstance(examples.x, Tensor) else torch.stack([examples.x.read(i) for i in range(n)])


@contextmanager
def _offline() -> Iterator[None]:
    """A block in which nothing is fetched."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("a check does not use the network")

    before = socket.getaddrinfo, socket.socket.connect
    socket.getaddrinfo, socket.socket.connect = refuse, refuse  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.getaddrinfo, socket.socket.connect = before  # type: ignore[method-assign]
