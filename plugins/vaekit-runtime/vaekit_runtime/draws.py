"""Codes from the prior: of a standard normal one drawn here, of others out of those that the export drew."""

import math
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.arrays import Array, is_whole
from vaekit_runtime.errors import InputError, ModelError, short
from vaekit_runtime.labels import Labels, is_context
from vaekit_runtime.metadata import Metadata

Numbers = NDArray[np.int64]


class Draws:
    """The prior of a model.

    Args:
        metadata: of the model.
        folder: that its files are in.
        labels: of the model.

    Raises:
        ModelError: where the file of draws is missing or cannot be trusted.
    """

    def __init__(self, metadata: Metadata, folder: Path, labels: Labels) -> None:
        self.prior, self.shape, self.labels = metadata.prior, metadata.latent.shape, labels
        told = labels.context is not None and labels.count is None  # c of which nobody knows the draws
        self.file = None if self.prior.file is None or told else _File(folder / self.prior.file, metadata, labels)

    def __call__(self, n: int, y: Any, temperature: float, seed: int | None) -> tuple[Array, Array | None]:
        """z (n, *latent_shape) and c (n, width), or None.

        Raises:
            InputError: for no n, a y that the model does not take, or a temperature that the prior has not.
        """
        if not is_whole(n) or n < 1:
            raise InputError(f"n is {short(n)}: ask for at least one sample")
        if seed is not None and (not is_whole(seed) or seed < 0):
            raise InputError(f"seed is {short(seed)}: it is a whole number, 0 or more")
        if not isinstance(temperature, Real) or not 0 <= temperature < math.inf:
            raise InputError(f"temperature is {short(temperature)}: it is a finite number, 0 or more")
        if temperature != 1.0 and not self.prior.standard:
            raise InputError(f"prior {self.prior.name!r} is not standard normal: it has no temperature here; leave it at 1")
        if self.file is not None and self.file.classes is not None and is_context(y):
            raise InputError(f"prior {self.prior.name!r} was drawn for classes: give y as a number or a name, not c")
        random = np.random.Generator(np.random.PCG64(seed))
        if y is None and self.labels.context is not None:
            y = self.labels.drawn(n, random)
        c = self.labels.context_of(y, n)
        if self.prior.standard:
            return random.standard_normal((n, *self.shape), np.float32) * np.float32(temperature), c
        if self.file is None:
            raise InputError(f"prior {self.prior.name!r} is not standard normal, and there are no draws of it for any c")
        return self.file.take(n, None if self.file.classes is None else self.labels.numbers(y, n), random), c


class _File:
    """prior.npz: codes z (draws, *latent_shape), and the class y (draws,) that each was drawn for."""

    def __init__(self, path: Path, metadata: Metadata, labels: Labels) -> None:
        shape = (metadata.prior.draws, *metadata.latent.shape)
        held = _arrays(path, {"z": (shape, np.dtype(np.float32)), "y": (shape[:1], np.dtype(np.int64))})
        if "z" not in held or not np.isfinite(held["z"]).all():
            raise ModelError(f"{path} holds no finite z: export the model anew")
        self.path, self.z = path, held["z"]
        self.classes: list[Numbers] | None = None
        if labels.count is None:
            return
        if "y" not in held or not np.array_equal(np.unique(held["y"]), np.arange(labels.count)):
            raise ModelError(f"{path} holds no draws for each of the {labels.count} classes: export the model anew")
        order, ends = np.argsort(held["y"], kind="stable"), np.cumsum(np.bincount(held["y"]))
        self.classes = np.split(order, ends[:-1])

    def take(self, n: int, numbers: Numbers | None, random: np.random.Generator) -> Array:
        """n codes, of these classes where there are any; none twice before all were taken."""
        if self.classes is None or numbers is None:
            return self.z[_shuffled(np.arange(len(self.z)), n, random)]
        places = np.empty(n, np.int64)
        for number in np.unique(numbers):
            wanted = np.flatnonzero(numbers == number)
            places[wanted] = _shuffled(self.classes[number], len(wanted), random)
        return self.z[places]


def _shuffled(places: Numbers, n: int, random: np.random.Generator) -> Numbers:
    """n of these places in random order, all of them before any comes again."""
    return np.concatenate([random.permutation(places) for _ in range(-(-n // len(places)))])[:n]


def _arrays(path: Path, wanted: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, without pickles, none larger than it must be."""
    import zipfile

    if not path.is_file():
        raise ModelError(f"{path} is missing, which holds the draws of the prior: copy it from where the model was exported")
    held: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name not in wanted or name in held:
                    raise ValueError(f"it holds {short(repr(entry.filename))}")
                shape, dtype = wanted[name]
                if entry.file_size > math.prod(shape) * dtype.itemsize + 4096:
                    raise ValueError(f"{name} has {entry.file_size:,} bytes")
                with archive.open(entry) as file:
                    array = np.lib.format.read_array(file, allow_pickle=False)
                if (array.shape, array.dtype) != (shape, dtype):
                    raise ValueError(f"{name} is {array.dtype} {array.shape}, and must be {dtype} {shape}")
                held[name] = array
    except Exception as error:  # readers of archives raise whatever they stumble over
        raise ModelError(f"{path} cannot be trusted: {short(error, 200)}; export the model anew") from None
    return held
