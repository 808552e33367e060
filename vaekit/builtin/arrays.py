"""Arrays in files: NumPy's .npy and .npz, and the IDX format of MNIST."""

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vaekit import DataError, DataSet, Examples, Raw, split_named

_X = {"x": "y", "X": "y", "images": "labels", "imgs": "labels"}
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """What NumPy reads there without unpickling: an array, or an archive of them."""
    if not path.is_file():
        raise DataError(f"{path} is a folder, no file" if path.exists() else f"no file {path}")
    with path.open("rb") as file:  # NumPy leaves one that it opened itself open where it fails
        yield _read(str(path), lambda: np.load(file, allow_pickle=False))


def _read(source: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # NumPy's parsers raise whatever they stumble over, SyntaxError and TokenError included
        raise DataError(f"{source} is not an array that NumPy reads without unpickling: {error}") from None


def _npy(path: str, root: Path) -> Raw:
    file = Path(path).expanduser()
    labels = file.with_name(_labels_of(file.stem) + file.suffix)
    y = _array(labels) if labels != file and labels.is_file() else None
    return Raw({"train": Examples.of(_array(file), y, str(file))})


def _array(file: Path) -> np.ndarray:
    with _opened(file) as array:
        if not isinstance(array, np.ndarray):
            raise DataError(f"{file} holds several arrays: npz:{file}")
        return array


def _labels_of(name: str) -> str:
    """What the labels of the array `name` are called: y_train for x_train, train_labels for train_images."""
    words = re.split(r"([^A-Za-z]+)", name)
    return "".join(_X.get(word, word) for word in words)


def _npz(path: str, root: Path) -> Raw:
    file = Path(path).expanduser()
    with _opened(file) as archive:
        if isinstance(archive, np.ndarray):
            raise DataError(f"{file} holds one array: npy:{file}")
        keys = {split: key for key in archive.files if (split := _split_of(key))}
        doubled = [key for key in archive.files if _split_of(key) and key not in keys.values()]
        if doubled:
            raise DataError(f"{file} holds {doubled[0]} and {keys[_split_of(doubled[0])]}, which are both the same split")
        if "train" not in keys:
            there = ", ".join(archive.files) or "nothing"
            raise DataError(f"{file} holds {there}: name the arrays x and y, or x_train, y_train, x_test, …")
        return Raw({split: _member(file, archive, key) for split, key in keys.items()})


def _split_of(key: str) -> str:
    """The split of which this is the x, or nothing: x, x_test, test_images."""
    first, _, second = key.partition("_")
    if not second:
        return "train" if first in _X else ""
    if second in _X:
        first, second = second, first
    return split_named(second) if first in _X else ""


def _member(file: Path, archive: Any, key: str) -> Examples:
    labels = _labels_of(key)
    x = _read(f"{key} in {file}", lambda: archive[key])
    y = _read(f"{labels} in {file}", lambda: archive[labels]) if labels in archive.files else None
    return Examples.of(x, y, f"{file} ({key})")


def _idx(path: str, root: Path) -> Raw:
    where = Path(path).expanduser()
    return idx_folder(where) if where.is_dir() else Raw({"train": _idx_examples(where)})


def idx_folder(where: Path) -> Raw:
    """The splits in a folder of IDX files.

    Raises:
        DataError: where there are none, or one cannot be read.
    """
    found = {"train": _idx_file(where, "train"), "test": _idx_file(where, "t10k") or _idx_file(where, "test")}
    splits = {split: _idx_examples(file) for split, file in found.items() if file is not None}
    if not splits:
        raise DataError(f"no train-images-idx3-ubyte or t10k-images-idx3-ubyte in {where}")
    return Raw(splits if "train" in splits else {"train": splits["test"]})


def _idx_file(folder: Path, stem: str) -> Path | None:
    named = re.compile(rf"(.*-)?{stem}-images[-.]idx\d-ubyte(\.gz)?")
    files = [file for file in sorted(folder.iterdir()) if named.fullmatch(file.name) and file.is_file()]
    found = [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]
    if len(found) > 1:
        raise DataError(f"{found[0]} and {found[1]} are both here: idx:{found[0]} takes one of them")
    return found[0] if found else None


def _idx_examples(images: Path) -> Examples:
    name = re.sub(r"idx\d", "idx1", images.name.replace("images", "labels")).removesuffix(".gz")
    beside = [images.with_name(name), images.with_name(f"{name}.gz")] if "images" in images.name else []
    labels = next((file for file in beside if file.is_file()), None)
    return Examples.of(_read_idx(images), None if labels is None else _read_idx(labels), str(images))


def _read_idx(path: Path) -> Any:
    """One IDX file, plain or gzipped: two zero bytes, type, rank, each size as a big-endian 32-bit number, the data."""
    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        data = bytearray(path.stat().st_size)  # that can be written to, so that a tensor can share it
        with path.open("rb") as file:
            data = data[: file.readinto(data)]
        data = bytearray(gzip.decompress(data)) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    rank = data[3] if len(data) > 3 else 0
    header = 4 + 4 * rank
    if len(data) < header or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES or not rank:
        raise DataError(f"{path} is not an IDX file")
    shape = struct.unpack(f">{rank}I", data[4:header])
    dtype = np.dtype(_IDX_TYPES[data[2]])
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(data) - header != wanted:
        wrong = "truncated" if len(data) - header < wanted else "too long"
        raise DataError(f"{path} is {wrong}: {shape} needs {wanted:,} bytes of data, there are {len(data) - header:,}")
    return np.frombuffer(data, dtype, offset=header).reshape(shape)


NPY = DataSet(
    "npy", "one array in a .npy file; labels beside it as y.npy for x.npy, or labels for images", _npy, takes_path=True
)
NPZ = DataSet("npz", "arrays x and y, or x_train, y_train, x_test, … in a .npz file", _npz, takes_path=True)
IDX = DataSet("idx", "a file in the IDX format of MNIST, or a folder of them", _idx, takes_path=True)
