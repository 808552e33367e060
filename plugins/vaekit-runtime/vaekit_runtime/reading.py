"""Inputs from files, a batch at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vaekit_runtime.arrays import Array
from vaekit_runtime.errors import DataError, InputError, short
from vaekit_runtime.predictor import Predictor

ARRAYS = (".npy", ".npz")


class Batches:
    """Images and arrays from files, in the order in which they are named.

    Args:
        predictor: that is to see them.
        paths: of images, or of arrays of many examples.
        size: of a batch, at most.
        codes: whether they are codes, which no image is.

    Attributes:
        names: of the examples that were read, for people.
    """

    def __init__(self, predictor: Predictor, paths: Sequence[Path], size: int, *, codes: bool) -> None:
        self.predictor, self.paths, self.size, self.codes = predictor, paths, size, codes
        self.names: list[str] = []

    def __iter__(self) -> Iterator[Array]:
        waiting: list[Array] = []
        for path in self.paths:
            if path.suffix.lower() not in ARRAYS:
                waiting.append(self._image(path))
            if waiting and (len(waiting) == self.size or path.suffix.lower() in ARRAYS):
                yield np.concatenate(waiting)
                waiting = []
            if path.suffix.lower() in ARRAYS:
                yield from self._array(path)
        if waiting:
            yield np.concatenate(waiting)

    def _image(self, path: Path) -> Array:
        if self.codes:
            raise InputError(f"{path} is no array: decode takes codes as .npy or .npz")
        self.names.append(str(path))
        return self.predictor.image(path)

    def _array(self, path: Path) -> Iterator[Array]:
        array = _read(path, "z" if self.codes else "x")
        if not array.ndim or not len(array):
            raise InputError(f"{path} holds an array of shape {array.shape}, which is no batch")
        for start in range(0, len(array), self.size):
            batch = array[start : start + self.size]
            self.names += [f"{path}[{i}]" for i in range(start, start + len(batch))]
            yield batch


def _read(path: Path, name: str) -> Array:
    """The array of an .npy file; of an .npz file the one of this name, or the only one."""
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if name in names or len(names) == 1:
                array: Array = loaded[name if name in names else names[0]]
                return array
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or short(error)}") from None
    except Exception:  # readers of archives raise whatever they stumble over, and advise to unpickle
        raise DataError(f"{path} is no .npy or .npz array of numbers: write it with numpy.save") from None
    raise InputError(f"{path} holds {short(', '.join(names))}: name the one to read {name}")
