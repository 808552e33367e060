"""Images in files, read when they are needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vaekit.errors import DataError
from vaekit.shapes import Shape


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
        channels = 1
        sizes: dict[tuple[int, int], Path] = {}
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
