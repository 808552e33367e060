"""Images in files, read when they are needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vaekit.data.ahead import ahead
from vaekit.errors import DataError
from vaekit.shapes import Shape


class ImageFiles:
    """Images read from their files when needed, grey only where every one is; what is transparent is laid on white.

    Args:
        paths: of the files.
        shape: (C, H, W) where it is known beforehand; else it is read from the headers.

    Raises:
        DataError: naming the file whose header cannot be read.
    """

    def __init__(self, paths: list[Path], shape: Shape | None = None) -> None:
        if not paths:
            raise DataError("no image files")
        self.paths = paths
        self.mixed = ""
        self.workers = min(16, os.cpu_count() or 1)
        self.shape = shape or self._shape()

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> Tensor:
        """One image, uint8 (C, H, W), turned the way its EXIF data say.

        Raises:
            DataError: naming the file that cannot be read.
        """
        with _opened(self.paths[index]) as image:
            return pixels(image, self.shape[0])

    def _shape(self) -> Shape:
        channels = 1
        sizes: dict[tuple[int, int], Path] = {}
        for path, (depth, *size) in zip(self.paths, ahead(_header, self.paths, self.workers), strict=True):
            channels = max(channels, depth)
            sizes.setdefault((size[0], size[1]), path)
        (first, path), *others = sizes.items()
        if others:
            other, unlike = others[0]
            self.mixed = f"{path} is {first[0]}x{first[1]} (height x width) and {unlike} is {other[0]}x{other[1]}"
        return (channels, *first)


def pixels(image: Image.Image, channels: int | None = None) -> Tensor:
    """The pixels of an image that Pillow has opened, uint8 (C, H, W): turned the way its EXIF data say, of 8 bits.

    Args:
        image: of any mode; what is transparent is laid on white, but for 4 channels.
        channels: 1 for grey, 3 for RGB or 4 for RGBA; 1 or 3, as the image is, unless given.

    Raises:
        DataError: for numbers of 32 bits, whose range nobody knows.
    """
    channels = channels or _channels(image)
    image = ImageOps.exif_transpose(_eight_bits(image))
    if channels != 4 and image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    array = np.asarray(image.convert({1: "L", 4: "RGBA"}.get(channels, "RGB")))
    laid = array[None] if channels == 1 else array.transpose(2, 0, 1)
    return torch.from_numpy(laid.copy(order="C"))  # Pillow's own cannot be written to


def is_grey(image: Image.Image) -> bool:
    """Whether an image that Pillow has opened has no colours."""
    return image.mode in _GREY


_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 swap height and width
_GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I")


def _header(path: Path) -> Shape:
    """Channels, height and width."""
    with _opened(path) as image:
        channels = _channels(image)
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (channels, image.width, image.height) if turned else (channels, image.height, image.width)


def _channels(image: Image.Image) -> int:
    return 1 if is_grey(image) else 3


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except DataError as error:
        raise DataError(f"{path} {error}") from None
    except Exception as error:  # the decoders of a dozen formats raise whatever they stumble over
        raise DataError(f"{path} is not a readable image: {error or type(error).__name__}") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    """Numbers of 16 bits as bytes; Pillow itself would cut them off at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # which Pillow scales to 16 bits
        reduced = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8))
        reduced.info.update({key: value for key, value in image.info.items() if key == "exif"})
        return reduced
    if image.mode in ("I", "F"):
        raise DataError("holds numbers of 32 bits, whose range nobody knows: make it one of 8 or 16 bits, or an array")
    return image
