"""Data of any shape as pictures of bytes, and pictures as files."""

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from PIL import Image
from torch import Tensor

from vaekit import Shape, figures

Kind = Literal["image", "sequence", "numbers"]
Pictures = np.ndarray
"""(N, height, width, channels), uint8, of one channel or three."""


def kind_of(shape: Shape) -> Kind:
    """What data of a shape are shown as: images, sequences as grey images of a row a step, or numbers as bars."""
    kinds: dict[int, Kind] = {1: "numbers", 2: "sequence", 3: "image"}
    return kinds[len(shape)]


def pictures(x: Tensor, span: tuple[float, float] = (0.0, 1.0)) -> Pictures:
    """Examples (N, *shape) as pictures.

    Images of one or three channels are shown as they are, of others the channels side by side; numbers as bars.

    Args:
        x: the examples.
        span: the values that are shown black and white, or as the lowest and the highest bar.
    """
    low, high = span
    unit = ((x.detach().float().cpu() - low) / max(high - low, 1e-9)).clamp(0, 1)
    if x.dim() == 2:
        return _bars(unit.numpy(), min(max(-low / max(high - low, 1e-9), 0.0), 1.0))
    if x.dim() == 3:
        unit = unit[:, None]
    if unit.shape[1] not in (1, 3):
        unit = unit.permute(0, 2, 1, 3).flatten(2)[:, None]
    found: Pictures = unit.mul(255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _bars(values: np.ndarray, ground: float) -> Pictures:
    """A bar for each number, up or down from where 0 is, at most 512 of them side by side; of more, the mean of neighbours."""
    if values.shape[1] > _MOST_BARS:
        values = np.stack([part.mean(1) for part in np.array_split(values, _MOST_BARS, axis=1)], axis=1)
    wide = max(1, 128 // values.shape[1])
    rows = (np.arange(_BAR_HEIGHT)[::-1, None] + 0.5) / _BAR_HEIGHT
    bottom, top = np.minimum(values, ground), np.maximum(values, ground)
    inside = (rows > bottom[:, None]) & (rows < top[:, None])
    line = np.abs(rows - ground) <= 0.5 / _BAR_HEIGHT
    shades = np.where(inside, 230, np.where(line, 110, 24)).astype(np.uint8)
    gap = [*[1] * (wide - 1), 0] if wide > 2 else [1] * wide
    across = np.repeat(shades, wide, axis=2)
    shown: Pictures = np.where(np.tile(gap, values.shape[1]).astype(bool), across, np.uint8(24))[..., None]
    return shown


_MOST_BARS, _BAR_HEIGHT = 512, 64


def packed(many: Pictures) -> dict[str, int | str]:
    """Pictures as JSON values: their number and size, and their bytes in base64."""
    n, h, w, c = many.shape
    return {"n": n, "h": h, "w": w, "c": c, "data": base64.b64encode(many.tobytes()).decode()}


def tiled(many: Pictures, columns: int | None = None) -> Image.Image:
    """Pictures side by side, nearly as many rows as columns unless said, each pixel repeated until it can be seen."""
    n, height, width, channels = many.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    times = max(1, min(_SEEN // max(rows * height, columns * width), 16))
    large = many.repeat(times, 1).repeat(times, 2)
    down, across = height * times + _GAP, width * times + _GAP
    canvas = np.full((rows * down - _GAP, columns * across - _GAP, channels), 128, dtype=np.uint8)
    for i, picture in enumerate(large):
        top, left = (i // columns) * down, (i % columns) * across
        canvas[top : top + height * times, left : left + width * times] = picture
    return Image.fromarray(_flat(canvas))


_GAP = 2
_SEEN = 640


def png(image: Image.Image) -> bytes:
    """An image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def gif(frames: Pictures, seconds: float = 3.0) -> bytes:
    """Pictures as an animation there and back, for ever."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "animation.gif"
        figures.save_gif([_flat(frame) for frame in frames], path, seconds)
        return path.read_bytes()


def _flat(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def colours(n: int) -> Sequence[str]:
    """A colour for each of n classes, as people with any eyes can tell most of them apart on white and on black."""
    if n <= len(_TOLD_APART):
        return _TOLD_APART[:n]
    return [f"hsl({360 * i * 0.618 % 360:.0f} {(70, 55)[i % 2]}% {(46, 60, 52)[i % 3]}%)" for i in range(n)]


_TOLD_APART = ("#4477cc", "#e8883a", "#3a9d5d", "#d8524f", "#8d6cc4", "#9a6a4f", "#dd7fbd", "#7d8590", "#b3a82b", "#2fa9bd")
