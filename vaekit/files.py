"""Where the files of a model are: a folder here, or one somewhere else that has the same two methods."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vaekit.errors import CheckpointError, short

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class File:
    """A file, and what to call it before people.

    Args:
        path: of it.
        label: its path, or the repo that it is of.
    """

    path: Path
    label: str

    def __str__(self) -> str:
        return self.label

    @contextmanager
    def opened(self) -> Iterator[tuple[BinaryIO, int]]:
        """A regular file and its size; opened without waiting, lest it is a pipe."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise CheckpointError(f"{self} cannot be read: {error.strerror}") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise CheckpointError(f"{self} is not a regular file")
        with os.fdopen(descriptor, "rb") as file:
            yield file, status.st_size

    def read(self, most: int) -> bytes:
        """All of it, where that is at most so many bytes."""
        with self.opened() as (file, size):
            if size > most:
                raise CheckpointError(f"{self} has {size:,} bytes, more than the {most:,} allowed")
            return file.read(most)


class Files(Protocol):
    """The files of one model."""

    @property
    def source(self) -> str:
        """Where they are, as `vaekit.load` takes it."""

    def first_of(self, *names: str) -> str | None:
        """The first of these that is there."""

    def get(self, name: str, least: int, most: int) -> File:
        """A file that is there, of so many bytes.

        Raises:
            CheckpointError, HubError: where it is not there, or of another size.
        """

    def names(self) -> Collection[str]:
        """Of all files there are, where that is known."""


class Folder:
    """The files of a folder here.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def source(self) -> str:
        """The folder."""
        return str(self.path)

    def first_of(self, *names: str) -> str | None:
        """The first of these that is there."""
        return next((name for name in names if os.path.lexists(self.path / name)), None)

    def get(self, name: str, least: int, most: int) -> File:
        """The file; what reads it sees to its size."""
        return File(self.path / name, str(self.path / name))

    def names(self) -> Collection[str]:
        """Of what is in the folder."""
        return sorted(path.name for path in self.path.iterdir())


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are where a loss of power leaves them."""
    if os.name == "nt" and path.is_dir():
        return  # names are written through there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def likeness(names: Collection[str], config: Mapping[str, Any] | None = None) -> str:
    """What a model that is not vaekit's seems to be, as the end of a sentence; nothing where that is unknown.

    Args:
        names: of its files.
        config: what its config.json holds.
    """
    keys = set(config or {})
    for what, files, marks in _KINDS:
        if files & set(names) or marks & keys:
            return f"; it seems to be {what}"
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    return f"; it holds pickles such as {short(pickles[0])}, which can run code and which vaekit never opens" if pickles else ""


_KINDS: list[tuple[str, set[str], set[str]]] = [
    ("a diffusers model: diffusers loads it", {"model_index.json"}, {"_class_name", "_diffusers_version"}),
    ("a timm model: timm.create_model loads it", set(), {"pretrained_cfg"}),
    ("a model of transformers, which loads it", set(), {"transformers_version", "model_type", "architectures"}),
    ("a pythae model: pythae loads it", {"model_config.json", "environment.json"}, {"reconstruction_loss"}),
    ("an adapter of PEFT", {"adapter_config.json"}, set()),
    ("a data set or a Space", {"dataset_infos.json", "app.py"}, set()),
]
"""What, the files that tell it, and the keys of a config.json that do."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
