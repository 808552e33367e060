"""The bundled digits, and the image sets that torchvision reads."""

import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit import DataError, DataSet, Examples, Raw, may_download
from vaekit.builtin.arrays import idx_folder


def _digits(path: str, root: Path) -> Raw:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8))
    return Raw({"train": Examples(grey[:, None], torch.from_numpy(digits.target).long())}, tuple("0123456789"))


def _mnist_like(name: str, classes: tuple[str, ...]) -> Callable[[str, Path], Raw]:
    def load(path: str, root: Path) -> Raw:
        here = root / name / "raw"
        if all((here / file).is_file() for file in _MNIST_FILES):
            return replace(_unpacked(name, root), classes=classes)
        found = _both(name, root)
        return Raw({split: Examples.of(there.data, there.targets, name) for split, there in found.items()}, classes)

    return load


def _unpacked(name: str, root: Path) -> Raw:
    """What torchvision has unpacked there, read without importing it, which takes longer than all else."""
    try:
        return idx_folder(root / name / "raw")
    except DataError as error:
        raise _damaged(name, root, error) from None


def _damaged(name: str, root: Path, error: Exception) -> DataError:
    return DataError(f"the files of {name} under {root} are damaged ({_line(error)}): delete them to have them anew")


def _emnist_letters(path: str, root: Path) -> Raw:
    found = _both("EMNIST", root, split="letters")
    splits = {
        split: Examples.of(there.data.transpose(1, 2), there.targets - 1, "EMNIST")  # stored lying, and numbered from 1
        for split, there in found.items()
    }
    return Raw(splits, tuple("abcdefghijklmnopqrstuvwxyz"))


def _cifar10(path: str, root: Path) -> Raw:
    found = _both("CIFAR10", root)
    splits = {split: Examples.of(there.data, there.targets, "CIFAR10") for split, there in found.items()}
    return Raw(splits, tuple(found["train"].classes))


def _svhn(path: str, root: Path) -> Raw:
    found = {split: _torchvision("SVHN", root, split=split) for split in ("train", "test")}
    splits = {split: Examples.of(there.data, there.labels, "SVHN") for split, there in found.items()}
    return Raw(splits, tuple("0123456789"))


def _celeba(path: str, root: Path) -> Raw:
    from vaekit import ImageFiles

    names = {"train": "train", "validation": "valid", "test": "test"}
    splits = {}
    for split, theirs in names.items():
        found = _torchvision("CelebA", root, split=theirs)
        folder = Path(found.root) / found.base_folder / "img_align_celeba"
        splits[split] = Examples(ImageFiles([folder / name for name in found.filename], shape=(3, 218, 178)))
    return Raw(splits)


def _both(name: str, root: Path, **options: Any) -> dict[str, Any]:
    return {
        "train": _torchvision(name, root, train=True, **options),
        "test": _torchvision(name, root, train=False, **options),
    }


def _torchvision(name: str, root: Path, **options: Any) -> Any:
    """The files under the data root where they are, else a download to it where that is allowed."""
    import torchvision

    dataset = getattr(torchvision.datasets, name)
    try:
        return _quietly(dataset, root, download=False, **options)
    except Exception as error:  # torchvision raises whatever its readers stumble over, AssertionError included
        absent = error
    if not may_download():
        raise DataError(
            f"{name} is not under {root} ({_line(absent)}), and nothing is downloaded here: "
            "give the folder that holds it with --data-root or VAEKIT_DATA"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _patience(_PATIENCE):
            return _quietly(dataset, root, download=True, **options)
    except Exception as error:
        failed = error
    if _line(absent) == _line(failed):  # there was nothing to download, and what is there cannot be read
        raise _damaged(name, root, failed)
    raise DataError(
        f"{name} is not under {root} ({_line(absent)}) and could not be downloaded ({_line(failed)}): "
        "give the folder that holds it with --data-root or VAEKIT_DATA"
    )


def _quietly(dataset: Any, root: Path, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's and NumPy's affairs: nothing that a user could do about
        return dataset(root, **options)


_PATIENCE = 20.0  # seconds that a server may be silent


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """torchvision gives no time limit to its connections, and would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _line(error: Exception) -> str:
    said = " ".join(str(error).split()).replace(" You can use download=True to download it", "")
    return said[:160] or type(error).__name__


_MNIST_FILES = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
_GARMENTS = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

DIGITS = DataSet("digits", "1,797 handwritten digits, 8x8 grey, bundled with scikit-learn", _digits)
TORCHVISION = [
    DataSet("mnist", "70,000 handwritten digits, 28x28 grey", _mnist_like("MNIST", tuple("0123456789"))),
    DataSet("fashion-mnist", "70,000 pictures of clothing, 28x28 grey", _mnist_like("FashionMNIST", _GARMENTS)),
    DataSet("kmnist", "70,000 cursive Japanese characters, 28x28 grey", _mnist_like("KMNIST", _KANA)),
    DataSet("emnist-letters", "145,600 handwritten letters, 28x28 grey", _emnist_letters),
    DataSet("cifar10", "60,000 photographs of ten kinds of thing, 32x32 colour", _cifar10),
    DataSet("svhn", "99,289 house numbers, 32x32 colour", _svhn),
    DataSet("celeba", "202,599 faces, 178x218 colour", _celeba),
]
