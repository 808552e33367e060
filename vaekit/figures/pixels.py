"""Images as uint8 arrays (height, width) or (height, width, 3), and pictures as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from vaekit.errors import ConfigError, ShapeError
from vaekit.shapes import Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = np.ndarray


def drawable(shape: Shape) -> bool:
    """Whether data of this shape can be shown: images of one or three channels, and sequences as grey images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def grid(images: Tensor, columns: int, gap: int = 1) -> Picture:
    """Images side by side, row by row.

    Args:
        images: (N, C, H, W) with C of 1 or 3, or (N, T, F); floats in [0, 1], cut off outside.
        columns: images a row.
        gap: pixels between them.

    Raises:
        ShapeError: where such data cannot be shown.
    """
    if not drawable(tuple(images.shape[1:])):
        raise ShapeError(f"data of shape {tuple(images.shape[1:])} cannot be shown as images")
    shown = images if images.dim() == 4 else images[:, None]
    pixels = shown.detach().float().cpu().nan_to_num(0).clamp(0, 1).mul(255).round().byte()
    rows = -(-len(pixels) // columns)
    n, channels, height, width = pixels.shape
    tiles = torch.full((rows * columns, channels, height + gap, width + gap), 128, dtype=torch.uint8)
    tiles[:n, :, :height, :width] = pixels
    whole = rearrange(tiles, "(r k) c h w -> (r h) (k w) c", k=columns)[
        : rows * (height + gap) - gap, : columns * (width + gap) - gap
    ]
    picture: Picture = whole.squeeze(-1).numpy() if channels == 1 else whole.numpy()
    return picture


def stack(pictures: Sequence[Picture], gap: int = 1) -> Picture:
    """Pictures of one width, one under the other."""
    between = np.full((gap, *pictures[0].shape[1:]), 128, dtype=np.uint8)
    return np.concatenate([part for picture in pictures for part in (between, picture)][1:])


def save(picture: "Picture | Figure", path: Path, at_least: int = 400) -> Path:
    """Write a PNG.

    Args:
        picture: an array, or a figure of matplotlib.
        path: of the file.
        at_least: each pixel of an array is repeated until the longer side has so many.

    Raises:
        ConfigError: where it cannot be written.
    """
    if not isinstance(picture, np.ndarray):
        figure = picture
        return _written(path, lambda: figure.savefig(path, dpi=120))
    times = max(1, -(-at_least // max(picture.shape[:2])))
    image = Image.fromarray(picture.repeat(times, 0).repeat(times, 1))
    return _written(path, lambda: image.save(path))


def save_gif(
    frames: Sequence[Picture],
    path: Path,
    seconds: float = 3.0,
    at_least: int = 280,
    back: bool = True,
    rests: Sequence[int] | None = None,
) -> Path:
    """Write an animation that goes on for ever.

    Args:
        frames: of one size.
        path: of the file.
        seconds: that the frames take, rests not counted.
        at_least: each pixel is repeated until the longer side has so many.
        back: whether to go back through the frames before it begins again; else the first follows the last.
        rests: numbers of frames that stay half a second longer, so that an eye can find them; the first and the last where
            none are said.

    Raises:
        ConfigError: where it cannot be written, or the name of the file is of another format.
    """
    if path.suffix.lower() != ".gif":
        raise ConfigError(f"{path} cannot be written: an animation is a .gif file")
    times = max(1, -(-at_least // max(frames[0].shape[:2])))
    order = [*range(len(frames)), *(range(len(frames) - 2, 0, -1) if back else ())]
    resting = {0, len(frames) - 1} if rests is None else set(rests)
    step = max(20, round(100 * seconds / len(frames)) * 10)  # GIF counts hundredths, and players slow down below two of them
    durations = [step + 500 * (i in resting) for i in order]
    first, *rest = [Image.fromarray(frames[i].repeat(times, 0).repeat(times, 1)) for i in order]
    return _written(path, lambda: first.save(path, save_all=True, append_images=rest, duration=durations, loop=0))


def _written(path: Path, write: Callable[[], object]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {error}") from None
    return path
