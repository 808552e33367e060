"""What is done to the examples of a data set before training: crop, size, grey, binary; held in memory where they fit."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vaekit.data.catalog import Examples, Lazy, can_hold
from vaekit.errors import ConfigError, DataError
from vaekit.options import Options
from vaekit.shapes import Shape

Side = Annotated[int, Field(ge=1, le=4096)]


class DataOptions(Options):
    """What is done to a data set; `data.binarize=dynamic` on the command line.

    Args:
        binarize: `none`; `threshold` at 1/2; `fixed`, each pixel drawn once with its value as the probability; `dynamic`,
            training pixels drawn anew each time they are seen, the others once.
        seed: what a binarisation draws from.
        resize: side, or height and width, that images are brought to: scaled to cover it and cut from the middle.
        crop: side of a square cut from the middle before that.
        grey: whether to drop colours.
        validation: how many examples to keep for validation where the source has no such split; a tenth, at most 5,000, unless
            given.
        test: likewise for testing.
    """

    binarize: Literal["none", "threshold", "fixed", "dynamic"] = "none"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    resize: Side | Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    crop: Side | None = None
    grey: bool = False
    validation: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width to bring images to."""
        return (self.resize, self.resize) if isinstance(self.resize, int) else self.resize


def transform(examples: Examples, options: DataOptions, split: str) -> Examples:
    """The examples of one split as training sees them, but for what is drawn anew each time.

    Examples that are read from files are held where all fit into a quarter of the memory; else each is read once here, to
    find those that cannot be.

    Raises:
        ConfigError: where an option does not fit the data.
        DataError: naming the file or example that is wrong.
    """
    binarize = "fixed" if options.binarize == "dynamic" and split != "train" else options.binarize
    steps = [*_spatial(examples.shape, options), *_binary(binarize)]
    x = examples.x
    if isinstance(x, Tensor):
        return Examples(_in_chunks(x, steps, options.seed) if steps else x, examples.y)
    if x.mixed and options.resize is None:
        raise DataError(f"{x.mixed}: images of one set are of one size; bring them to one with data.resize=64, say")
    lazy = _Transformed(x, steps, options.seed)
    return Examples(_held(lazy), examples.y)


Step = Callable[[Tensor, torch.Generator], Tensor]


class _Transformed:
    """A Lazy whose examples are transformed as they are read."""

    mixed = ""

    def __init__(self, lazy: Lazy, steps: list[Step], seed: int) -> None:
        self.lazy, self.steps, self.seed, self.workers = lazy, steps, seed, lazy.workers
        self.shape: Shape = tuple(self.read(0).shape)

    def __len__(self) -> int:
        return len(self.lazy)

    def read(self, index: int) -> Tensor:
        x = self.lazy.read(index)[None]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        for step in self.steps:
            x = step(x, generator)
        return x[0]


def _in_chunks(x: Tensor, steps: list[Step], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    done = []
    for chunk in x.split(max(1, 2**24 // prod(x.shape[1:]))):
        for step in steps:
            chunk = step(chunk, generator)
        done.append(chunk)
    return torch.cat(done)


def _held(lazy: _Transformed) -> Tensor | Lazy:
    first = lazy.read(0)
    held = torch.empty(len(lazy), *first.shape, dtype=first.dtype) if can_hold(len(lazy), first) else None
    with ThreadPoolExecutor(lazy.workers) as pool:
        for index, x in enumerate(_ahead(pool, lazy)):
            if x.shape != first.shape:
                raise DataError(f"example {index} has shape {tuple(x.shape)}, the first {tuple(first.shape)}")
            if held is not None:
                held[index] = x
    return lazy if held is None else held


def _ahead(pool: ThreadPoolExecutor, lazy: Lazy, block: int = 1024) -> Iterator[Tensor]:
    for start in range(0, len(lazy), block):
        yield from pool.map(lazy.read, range(start, min(start + block, len(lazy))))


def _spatial(shape: Shape, options: DataOptions) -> list[Step]:
    wanted = [name for name in ("crop", "resize", "grey") if getattr(options, name)]
    if wanted and len(shape) != 3:
        raise ConfigError(f"data.{wanted[0]} is for images (C, H, W); these data are {shape}")
    steps: list[Step] = []
    if options.crop is not None:
        side = options.crop
        steps.append(lambda x, _: _cut(x, side, side))
    if options.size is not None:
        height, width = options.size
        steps.append(lambda x, _: _cover(x, height, width))
    if options.grey and shape[0] == 3:
        steps.append(lambda x, _: _grey(x))
    return steps


def _binary(binarize: str) -> list[Step]:
    if binarize == "threshold":
        return [lambda x, _: _bits(_probabilities(x) >= 0.5)]
    if binarize == "fixed":
        return [lambda x, generator: _bits(torch.rand(x.shape, generator=generator) < _probabilities(x))]
    return [] if binarize == "none" else [lambda x, _: _in_range(x)]


def _cut(x: Tensor, height: int, width: int) -> Tensor:
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    if top < 0 or left < 0:
        raise ConfigError(f"data.crop={height} is more than an image has ({x.shape[-2]}x{x.shape[-1]})")
    return x[..., top : top + height, left : left + width]


def _cover(x: Tensor, height: int, width: int) -> Tensor:
    scale = max(height / x.shape[-2], width / x.shape[-1])
    size = [max(side, round(scale * old)) for side, old in zip((height, width), x.shape[-2:], strict=True)]
    scaled = F.interpolate(x.float(), size=size, mode="bilinear", antialias=True, align_corners=False)
    return _as(x, _cut(scaled, height, width))


def _grey(x: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114])  # Rec. 601 luma, as Pillow's convert("L")
    return _as(x, (x.float() * weights[:, None, None]).sum(-3, keepdim=True))


def _as(like: Tensor, x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8) if like.dtype == torch.uint8 else x


def _probabilities(x: Tensor) -> Tensor:
    return x.float() / 255 if x.dtype == torch.uint8 else _in_range(x)


def _in_range(x: Tensor) -> Tensor:
    if x.dtype != torch.uint8 and not bool(((x >= 0) & (x <= 1)).all()):
        raise DataError("data.binarize takes values as probabilities, but some are outside [0, 1]: scale them first")
    return x


def _bits(x: Tensor) -> Tensor:
    return x.to(torch.uint8) * 255
