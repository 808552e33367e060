"""What is done to the examples of a data set before training: crop, size, grey, binary; held in memory where they fit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vaekit.data.ahead import ahead
from vaekit.data.catalog import Examples, Lazy, can_hold
from vaekit.data.streamed import SMALL, TOGETHER, Stream
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


def transform(examples: Examples, options: DataOptions, split: str, beside: int = 0) -> Examples:
    """The examples of one split as training sees them, but for what is drawn anew each time.

    Examples that are read from files are held where all fit into a quarter of the memory; else each is read once here, to
    find those that cannot be. A stream to train on is neither held nor read here. What is drawn depends on the seed, the split
    and the place of the example in it, or in a stream's source, not on that.

    Args:
        examples: as their source gives them.
        options: what to do to them.
        split: which one they are.
        beside: how many examples of all splits are held where these are, if not these alone.

    Raises:
        ConfigError: where an option does not fit the data.
        DataError: naming the file or example that is wrong.
    """
    binarize = "fixed" if options.binarize == "dynamic" and split != "train" else options.binarize
    change = _Change(_spatial(examples.shape, options), binarize, options.seed, split)
    x = examples.x
    if isinstance(x, Tensor):
        return replace(examples, x=_in_chunks(x, change) if change.spatial or binarize != "none" else x)
    if isinstance(x, Stream):
        return _streamed(x.changed(change, options.grey), split, beside)
    if x.mixed and options.resize is None and options.crop is None:
        raise DataError(f"{x.mixed}: images of one set are of one size; bring them to one with data.resize=64, say")
    return replace(examples, x=_held(_Changed(x, change), beside))


Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Change:
    """What is done to consecutive examples x (n, *shape) of a split, the first of them at the place `start`."""

    spatial: list[Step]
    binarize: str
    seed: int
    split: str

    def __call__(self, x: Tensor, start: int) -> Tensor:
        for step in self.spatial:
            x = step(x)
        if self.binarize != "none" and x.dtype != torch.uint8:
            self._check_range(x, start)
        if self.binarize in ("none", "dynamic"):
            return x
        p = x / 255 if x.dtype == torch.uint8 else x
        return ((p >= 0.5) if self.binarize == "threshold" else (self._uniform(p, start) < p)).to(torch.uint8) * 255

    def _uniform(self, p: Tensor, start: int) -> Tensor:
        """A stream for each example, so that a draw is the same however many are read at once."""
        base = self.seed * 1_000_003 + _STREAMS[self.split]
        generator = torch.Generator()
        return torch.stack([torch.rand(p.shape[1:], generator=generator.manual_seed(base + start + i)) for i in range(len(p))])

    def _check_range(self, x: Tensor, start: int) -> None:
        wrong = (~((x >= 0) & (x <= 1))).nonzero()
        if len(wrong):
            first = tuple(wrong[0].tolist())
            place = f"{self.split}[{start + first[0]}] at {first[1:]}"
            raise DataError(
                f"data.binarize takes values as probabilities, and {x[first]:g} in {place} is none: scale them first"
            )


_STREAMS = {"train": 0x33333333, "validation": 0x66666666, "test": 0x99999999}  # far apart in the 32 bits that torch heeds


class _Changed:
    """A Lazy whose examples are changed as they are read."""

    mixed = ""

    def __init__(self, lazy: Lazy, change: _Change) -> None:
        self.lazy, self.change, self.workers = lazy, change, lazy.workers
        self.shape: Shape = tuple(self.read(0).shape)

    def __len__(self) -> int:
        return len(self.lazy)

    def read(self, index: int) -> Tensor:
        return self.change(self.lazy.read(index)[None], index)[0]


def _streamed(x: Stream, split: str, beside: int) -> Examples:
    """Nothing of a training set is held, of the others all where they fit."""
    return Examples(x) if split == "train" or not can_hold(max(len(x), beside), x.example) else Examples(*x.held())


def _in_chunks(x: Tensor, change: _Change) -> Tensor:
    first = change(x[:1], 0)[0]
    done = torch.empty(len(x), *first.shape, dtype=first.dtype)
    size = max(1, 2**24 // max(x[0].numel(), first.numel()))
    for start in range(0, len(x), size):
        done[start : start + size] = change(x[start : start + size], start)
    return done


def _held(lazy: Lazy, beside: int) -> Tensor | Lazy:
    first = lazy.read(0)
    fits = can_hold(max(len(lazy), beside), first)
    held = torch.empty(len(lazy), *first.shape, dtype=first.dtype) if fits else None
    together = min(TOGETHER, max(1, SMALL // first.nbytes))
    for index, x in enumerate(ahead(lazy.read, range(len(lazy)), lazy.workers, 2 * lazy.workers * together, together)):
        if x.shape != first.shape:
            raise DataError(f"example {index} has shape {tuple(x.shape)}, the first {tuple(first.shape)}")
        if held is not None:
            held[index] = x
    return lazy if held is None else held


def _spatial(shape: Shape, options: DataOptions) -> list[Step]:
    wanted = [name for name in ("crop", "resize", "grey") if getattr(options, name)]
    if wanted and len(shape) != 3:
        raise ConfigError(f"data.{wanted[0]} is for images (C, H, W); these data are {shape}")
    steps: list[Step] = []
    if options.crop is not None:
        side = options.crop
        steps.append(lambda x: _cut(x, side, side))
    if options.size is not None:
        height, width = options.size
        steps.append(lambda x: _cover(x, height, width))
    if options.grey and shape[0] not in (1, 3):
        raise ConfigError(f"data.grey is for images of 3 channels; these data are {shape}")
    if options.grey and shape[0] == 3:
        steps.append(lambda x: _grey(x))
    return steps


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
