"""What a moved image does to its code, as a figure of matplotlib that `save` writes."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.figures.charts import chart
from vaekit.figures.pixels import drawable, grid
from vaekit.model import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shift(
    model: VAE,
    x: Tensor,
    y: Tensor | None = None,
    base: int = 0,
    most: int | None = None,
    seed: int = 0,
    number: int | None = None,
) -> "Figure":
    """The latent shift of a translated image: how far the code of one example goes when its pixels move, to the sides and up
    and down, and under it the moved images with their reconstructions.

    The distance is in units of the spread of codes: the difference in each dimension by its standard deviation over
    the examples, then the root mean square over dimensions. Dimensions that vary by less than a tenth of the one that
    varies most say next to nothing of an example, and are left out. A line shows the median distance of two random examples.

    What comes in at a border repeats the pixels there. On a plain background, dark or bright, this is the background; and in a
    photograph it brings in no bar of a colour that no training example has, which would move the code by itself.

    Args:
        model: of images, with real latents.
        x: examples that the spread is of, (N, C, H, W); hundreds.
        y: their class numbers, for a conditional model.
        base: the place in x of the example that is moved.
        most: pixels that it is moved by at most, a quarter of the shorter side where none are given.
        seed: what the choice of random pairs depends on.
        number: of the example in the title; `base` where there is none.

    Raises:
        ConfigError: for data that are no images, other latents, codes that do not vary, or an example or a shift that is not.
    """
    from matplotlib.ticker import MaxNLocator

    shape = model.data_shape
    if len(shape) != 3 or not drawable(shape):
        raise ConfigError(f"a shift is of images of one or three channels; this model's data are of shape {tuple(shape)}")
    if model.latent.root.support != "real":
        raise ConfigError(f"a shift is measured in real latents; this model's are in a space of {model.latent.root.support}")
    if len(x) < 2 or not 0 <= base < len(x):
        raise ConfigError(f"there is no shift of example {base} of {len(x)}: give two examples or more, and one of them")
    shorter = min(shape[1:])
    furthest = max(1, shorter // 4) if most is None else most
    if not 1 <= furthest < shorter:
        raise ConfigError(f"most is {furthest}: images of shape {tuple(shape)} are moved by 1 to {shorter - 1} pixels")
    labels = y if model.conditional else None
    codes = _codes(model, x, labels)
    spread = codes.std(0)
    told = spread > max(0.1 * float(spread.max()), 1e-6 * float(codes.abs().max()))  # below this it is rounding
    if not told.any():
        raise ConfigError("the codes of these examples are all alike: there is no spread to measure a shift in")
    by = range(-furthest, furthest + 1)
    moved = {
        "to the right": torch.cat([_moved(x[base : base + 1], 0, n) for n in by]),
        "down": torch.cat([_moved(x[base : base + 1], n, 0) for n in by]),
    }
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    apart = float(_distance(codes[order], codes[order.roll(1)], spread, told).median())
    label = None if labels is None else labels[base].expand(len(by))
    far = {name: _distance(_codes(model, images, label), codes[base], spread, told) for name, images in moved.items()}
    step = -(-furthest // 4)
    shown = list(range(-(furthest // step) * step, furthest + 1, step))
    originals = moved["to the right"][[n + furthest for n in shown]]
    pairs = torch.cat([originals.cpu(), model.reconstruct(originals, None if label is None else label[: len(shown)]).cpu()])

    side, left, right, above, chart_tall, between = 0.9, 1.25, 0.25, 0.5, 2.9, 0.75  # in inches
    outer = shown[-1] + step / 2
    limit = max(outer, furthest + step / 4)  # of both axes, so that a picture stands under its shift
    wide = max(side * len(shown), 5.4)
    tall = 2 * wide * step / (2 * limit) * shape[1] / shape[2]
    width, height = left + wide + right, above + chart_tall + between + tall + 0.15
    figure = chart(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((left / width, 1 - (above + chart_tall) / height, wide / width, chart_tall / height))
    for (name, values), colour in zip(far.items(), ("tab:blue", "tab:orange"), strict=True):
        axes.plot(list(by), values.tolist(), "o-", color=colour, markersize=4, label=name, clip_on=False)
    axes.axhline(apart, color="0.4", linewidth=1, linestyle="--", label="two random examples, median")
    axes.set_xlim(-limit, limit)
    axes.set_ylim(0, 1.28 * max(apart, *(float(values.max()) for values in far.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("shift in pixels")
    axes.set_ylabel("distance of the codes,\nin standard deviations")
    kept = f"{int(told.sum())} of {len(told)} dimensions"
    axes.set_title(f"Example {base if number is None else number} moved: how far its code goes, over {kept}", fontsize=11)
    axes.legend(loc="upper center", ncols=3, fontsize=9, frameon=False, columnspacing=1.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    pictures = figure.add_axes((left / width, 0.15 / height, wide / width, tall / height))
    picture = grid(pairs, len(shown))
    extent = (-outer, outer, 2, 0)
    pictures.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
    pictures.set_xlim(-limit, limit)
    pictures.set_yticks([0.5, 1.5], ["moved to\nthe right", "recon-\nstruction"])
    pictures.set_xticks(shown, [f"{n:+d}".replace("-", "\N{MINUS SIGN}") if n else "0" for n in shown])
    pictures.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False, labelsize=9)
    pictures.spines[:].set_visible(False)
    return figure


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    """Images (N, C, H, W) moved by whole pixels; what comes in repeats the border."""
    height, width = images.shape[-2:]
    padding = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
    padded = F.pad(images.float(), padding, mode="replicate")
    return padded[..., max(-down, 0) :, max(-right, 0) :][..., :height, :width].to(images.dtype)


def _distance(a: Tensor, b: Tensor, spread: Tensor, told: Tensor) -> Tensor:
    return ((a - b)[:, told] / spread[told]).square().mean(1).sqrt()


def _codes(model: VAE, x: Tensor, y: Tensor | None) -> Tensor:
    """Codes in double precision, (N, D)."""
    at = [slice(i, i + _AT_ONCE) for i in range(0, len(x), _AT_ONCE)]
    return torch.cat([model.encode(x[i], None if y is None else y[i]).flatten(1).cpu().double() for i in at])


_AT_ONCE = 256
