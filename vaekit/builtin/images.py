"""The bundled digits, and the image sets that torchvision reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaekit import DataError, DataSet, Examples, ImageFiles, Raw


def _digits(path: str, root: Path) -> Raw:
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8))
    return Raw({"train": Examples(grey[:, None], torch.from_numpy(digits.target).long())}, tuple("0123456789"))


def _mnist_like(name: str, classes: tuple[str, ...]) -> Callable[[str, Path], Raw]:
    def load(path: str, root: Path) -> Raw:
        found = _both(name, root)
        return Raw({split: Examples(images.data[:, None], images.targets.long()) for split, images in found.items()}, classes)

    return load


def _emnist_letters(path: str, root: Path) -> Raw:
    splits = {
        split: Examples(found.data.transpose(1, 2)[:, None].contiguous(), found.targets.long() - 1)
        for split, found in _both("EMNIST", root, split="letters").items()
    }
    return Raw(splits, tuple("abcdefghijklmnopqrstuvwxyz"))


def _cifar10(path: str, root: Path) -> Raw:
    found = _both("CIFAR10", root)
    splits = {
        split: Examples(torch.from_numpy(images.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(images.targets))
        for split, images in found.items()
    }
    return Raw(splits, tuple(found["train"].classes))


def _svhn(path: str, root: Path) -> Raw:
    splits = {}
    for split in ("train", "test"):
        found = _torchvision("SVHN", root, split=split)
        splits[split] = Examples(torch.from_numpy(found.data), torch.from_numpy(found.labels).long())
    return Raw(splits, tuple("0123456789"))


def _celeba(path: str, root: Path) -> Raw:
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
    """The files under the data root where they are, else a download to it."""
    import torchvision

    dataset = getattr(torchvision.datasets, name)
    try:
        return dataset(root, download=False, **options)
    except (RuntimeError, OSError) as absent:
        reason: Exception = absent
    try:
        root.mkdir(parents=True, exist_ok=True)
        return dataset(root, download=True, **options)
    except (RuntimeError, OSError, ValueError) as failed:
        raise DataError(
            f"{name} is not under {root} ({_line(reason)}) and could not be downloaded ({_line(failed)}): "
            "give the folder that holds it with --data-root or VAEKIT_DATA"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


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
