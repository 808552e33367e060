"""Arrays in files: NumPy's .npy and .npz, and the IDX format of MNIST."""

import gzip
import re
import struct
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vaekit import DataError, DataSet, Examples, Raw

_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def _read(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is not an array that NumPy reads without unpickling: {error}") from None


def _npy(path: str, root: Path) -> Raw:
    file = Path(path).expanduser()
    array = _read(file)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{file} holds several arrays: npz:{file}")
    labels = file.with_name(re.sub(r"(images|x)$", lambda m: {"images": "labels", "x": "y"}[m[0]], file.stem) + file.suffix)
    y = _read(labels) if labels != file and labels.is_file() else None
    return Raw({"train": Examples.of(array, y, str(file))})


def _npz(path: str, root: Path) -> Raw:
    file = Path(path).expanduser()
    archive = _read(file)
    if isinstance(archive, np.ndarray):
        raise DataError(f"{file} holds one array: npy:{file}")
    splits = {}
    with archive:
        for key in archive.files:
            stem, _, suffix = key.rpartition("_")
            split = _SPLITS.get(suffix if stem == "x" else "train" if key == "x" else "")
            if split:
                labels = key.replace("x", "y", 1)
                y = archive[labels] if labels in archive.files else None
                splits[split] = Examples.of(archive[key], y, f"{file} ({key})")
        if "train" not in splits:
            raise DataError(
                f"{file} holds {', '.join(archive.files) or 'nothing'}: name the arrays x and y, or x_train, y_train, x_test, …"
            )
    return Raw(splits)


def _idx(path: str, root: Path) -> Raw:
    where = Path(path).expanduser()
    if where.is_dir():
        found = {"train": _idx_pair(where, "train"), "test": _idx_pair(where, "t10k")}
        splits = {split: examples for split, examples in found.items() if examples is not None}
        if not splits:
            raise DataError(f"no train-images-idx3-ubyte or t10k-images-idx3-ubyte in {where}")
        if "train" not in splits:
            splits = {"train": splits["test"]}
    else:
        splits = {"train": Examples.of(_read_idx(where), _labels_beside(where), str(where))}
    return Raw(splits)


def _idx_pair(folder: Path, stem: str) -> Examples | None:
    for name in (f"{stem}-images-idx3-ubyte", f"{stem}-images-idx3-ubyte.gz"):
        if (folder / name).is_file():
            return Examples.of(_read_idx(folder / name), _labels_beside(folder / name), str(folder / name))
    return None


def _labels_beside(images: Path) -> Any:
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    return _read_idx(labels) if labels != images and labels.is_file() else None


def _read_idx(path: Path) -> Any:
    """One IDX file, plain or gzipped: two zero bytes, type, rank, each size as a big-endian 32-bit number, the data."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    rank = data[3] if len(data) > 3 else 0
    header = 4 + 4 * rank
    if len(data) < header or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES or not rank:
        raise DataError(f"{path} is not an IDX file")
    shape = struct.unpack(f">{rank}I", data[4:header])
    dtype = np.dtype(_IDX_TYPES[data[2]])
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(data) - header != wanted:
        raise DataError(f"{path} is truncated: {shape} needs {wanted:,} bytes of data, there are {len(data) - header:,}")
    return np.frombuffer(data, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


NPY = DataSet(
    "npy", "one array in a .npy file; labels beside it as y.npy for x.npy, or labels for images", _npy, takes_path=True
)
NPZ = DataSet("npz", "arrays x and y, or x_train, y_train, x_test, … in a .npz file", _npz, takes_path=True)
IDX = DataSet("idx", "a file in the IDX format of MNIST, or a folder of them", _idx, takes_path=True)
