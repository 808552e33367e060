"""Pictures as a model sees them.

What is done to one is what `vaekit.inputs.image` does: upright, 8 bits, on white, the crop of the data, scaled to cover
the shape, cut, and binary where the data were.
"""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vaekit_runtime.arrays import Array
from vaekit_runtime.errors import DataError, InputError, short
from vaekit_runtime.metadata import Metadata
from vaekit_runtime.resizing import resize

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MOST_BYTES = 2**28

Pixels = NDArray[np.uint8]


def image(given: str | Path | bytes | Image.Image, metadata: Metadata, most_pixels: int) -> Array:
    """A picture as a model sees pictures, (1, C, H, W) in [0, 1].

    Args:
        given: a file, its bytes, or what Pillow has opened; of several frames the first.
        metadata: of the model.
        most_pixels: of the picture; looked at before it is decoded.

    Raises:
        InputError: for a model of something else than pictures, or a picture smaller than the crop.
        DataError: where it cannot be read, or is too large.
    """
    shape = metadata.data.shape
    if len(shape) != 3 or shape[0] not in _MODES:
        raise InputError(f"this model's data are of shape {shape}, not pictures: give an array")
    pixels = _read(given, shape[0], most_pixels)
    crop = (metadata.config.get("data") or {}).get("crop")
    if crop is not None:
        if crop > min(pixels.shape[1:]):
            raise InputError(f"the model's data were cropped to {crop}, more than the picture has {pixels.shape[1:]}")
        pixels = _cut(pixels, crop, crop)
    pixels = np.ascontiguousarray(_cover(pixels, shape[1], shape[2]))
    if metadata.data.binarize != "none":
        return (pixels >= 128).astype(np.float32)[None]
    return pixels.astype(np.float32)[None] / np.float32(255)


_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_SCALED = 2**26  # pixels
_NUMBERS_OF_32_BITS = "holds numbers of 32 bits, whose range nobody knows: make it one of 8 or 16 bits, or an array"


def _read(given: str | Path | bytes | Image.Image, channels: int, most_pixels: int) -> Pixels:
    if isinstance(given, Image.Image):
        return _decoded(given, channels, most_pixels, "the picture")
    name = "the picture" if isinstance(given, bytes) else str(given)
    if isinstance(given, bytes) and not given:
        raise DataError("the picture is empty")
    try:
        if not isinstance(given, bytes) and Path(given).stat().st_size > MOST_BYTES:
            raise DataError(f"{name} is larger than {MOST_BYTES:,} bytes: save it smaller")
        with Image.open(io.BytesIO(given) if isinstance(given, bytes) else given, formats=FORMATS) as opened:
            return _decoded(opened, channels, most_pixels, name)
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(
            f"{name} is no picture of a kind that is read here, or is damaged: give one of {', '.join(FORMATS)}"
        ) from None
    except Exception as error:  # the decoders of many formats raise whatever they stumble over
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{name} cannot be read: {error.strerror}") from None
        raise DataError(f"{name} is not a readable picture: {short(str(error) or type(error).__name__, 200)}") from None


def _decoded(opened: Image.Image, channels: int, most_pixels: int, name: str) -> Pixels:
    """uint8 (C, H, W): upright, on white but for 4 channels."""
    if opened.width * opened.height > most_pixels:
        size = f"{opened.width:,} x {opened.height:,}"
        raise DataError(f"{name} has {size} pixels, more than the {most_pixels:,} allowed: make it smaller")
    upright = ImageOps.exif_transpose(_eight_bits(opened, name))
    if channels != 4 and upright.has_transparency_data:
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright.convert("RGBA"))
    pixels = np.asarray(upright.convert(_MODES[channels]))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(opened: Image.Image, name: str) -> Image.Image:
    """Numbers of 16 bits as bytes; Pillow itself would cut them off at 255."""
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format == "PPM"):  # which Pillow scales to 16 bits
        reduced = Image.fromarray((np.asarray(opened).astype(np.int64) >> 8).astype(np.uint8))
        reduced.info.update({key: value for key, value in opened.info.items() if key == "exif"})
        return reduced
    if opened.mode in ("I", "F"):
        raise DataError(f"{name} {_NUMBERS_OF_32_BITS}")
    return opened


def _cut(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The middle."""
    top, left = (pixels.shape[-2] - height) // 2, (pixels.shape[-1] - width) // 2
    return pixels[..., top : top + height, left : left + width]


def _cover(pixels: Pixels, height: int, width: int) -> Pixels:
    """Scaled until it covers so many pixels, and cut from the middle."""
    old = pixels.shape[-2:]
    scale = max(height / old[0], width / old[1])
    size = max(height, round(scale * old[0])), max(width, round(scale * old[1]))
    if math.prod(size) > _MOST_SCALED:
        raise DataError(f"a picture of {old[1]:,} x {old[0]:,} pixels is too narrow to cover {width} x {height}: cut it first")
    return np.clip(np.round(_cut(resize(pixels, size), height, width)), 0, 255).astype(np.uint8)
