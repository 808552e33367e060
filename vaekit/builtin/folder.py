"""A folder of images, with the names of its sub-folders as classes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vaekit import DataError, DataSet, Examples, Raw, Shape

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}
_SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


class ImageFiles:
    """Images read from their files when needed, grey only where every one is.

    Args:
        paths: of the files.
        shape: (C, H, W) where it is known beforehand; else it is read from the headers.
    """

    def __init__(self, paths: list[Path], shape: Shape | None = None) -> None:
        self.paths = paths
        self.mixed = ""
        self.workers = os.cpu_count() or 1
        self.shape = shape or self._shape()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """One image, uint8 (C, H, W), turned the way its EXIF data say."""
        with _opened(self.paths[index]) as image:
            return torch.from_numpy(_pixels(ImageOps.exif_transpose(image), self.shape[0]))

    def _shape(self) -> Shape:
        channels, sizes = 1, {}
        for path in self.paths:
            with _opened(path) as image:
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
                sizes.setdefault((image.width, image.height) if turned else (image.height, image.width), path)
                channels = max(channels, 1 if image.mode in _GREY else 3)
        (size, first), *others = sizes.items()
        if others:
            other, path = others[0]
            self.mixed = f"{first} is {size[0]}x{size[1]} (height x width) and {path} is {other[0]}x{other[1]}"
        return (channels, *size)


_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 swap height and width
_GREY = ("1", "L", "I;16", "I;16L", "I;16B", "I", "F")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: {error}") from None


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _load(path: str, root: Path) -> Raw:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    named = {_SPLITS[child.name]: child for child in sorted(folder.iterdir()) if child.is_dir() and child.name in _SPLITS}
    parts = named if "train" in named else {"train": folder}
    files = {split: _images(part) for split, part in parts.items()}
    for split, there in files.items():
        if not there:
            raise DataError(f"no images in {parts[split]} (looked for {', '.join(sorted(SUFFIXES))})")
    classes = sorted({c for there in files.values() for _, c in there if c})
    labelled = bool(classes) and all(c for there in files.values() for _, c in there)
    every = Examples(
        ImageFiles([path for there in files.values() for path, _ in there]),
        torch.tensor([classes.index(c) for there in files.values() for _, c in there]) if labelled else None,
    )
    places = torch.arange(len(every)).split([len(there) for there in files.values()])
    splits = {split: every.take(index) for split, index in zip(files, places, strict=True)}
    return Raw(splits, tuple(classes) if labelled else ())


def _images(folder: Path) -> list[tuple[Path, str]]:
    """Every image below `folder` in order, with the sub-folder that it is in."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    inside = [path.relative_to(folder).parts for path in found]
    return [(path, parts[0] if len(parts) > 1 else "") for path, parts in zip(found, inside, strict=True)]


FOLDER = DataSet("folder", "a folder of images; sub-folders are classes, or train, validation and test", _load, takes_path=True)
