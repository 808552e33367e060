"""Decoded images in rows and columns that say what they are, as figures of matplotlib that `save` writes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.figures.charts import chart, words
from vaekit.figures.pixels import grid
from vaekit.figures.posteriors import Posteriors
from vaekit.model import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def labelled(images: Tensor, rows: Sequence[str], columns: Sequence[str], title: str = "") -> "Figure":
    """Images row by row, with a label at the left of each row and above each column.

    Args:
        images: (rows · columns, *data_shape).
        rows: labels.
        columns: labels.
        title: above all.

    Raises:
        ConfigError: where there are not as many images as places.
    """
    if len(images) != len(rows) * len(columns) or not len(images):
        raise ConfigError(f"{len(images)} images do not fill {len(rows)} rows of {len(columns)}")
    picture = grid(images, len(columns))
    height, width = tuple(images.shape[-2:])
    tile = min(0.75, 9 / len(columns))
    tall = min(max(tile * height / width, 0.22), 3.0)
    figure = chart(tile * len(columns) + 0.8 + 0.09 * max(map(len, rows)), tall * len(rows) + 0.9)
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks([i * (height + 1) + (height - 1) / 2 for i in range(len(rows))], list(rows))
    axes.set_xticks([i * (width + 1) + (width - 1) / 2 for i in range(len(columns))], list(columns))
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False, labelsize=9)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    return figure


def traversals(
    model: VAE,
    x: Tensor,
    y: Tensor | None = None,
    base: int = 0,
    most: int = 10,
    steps: int = 9,
    seed: int = 0,
    number: int | None = None,
) -> "Figure":
    """What each latent dimension does: one example's code, with one dimension after the other swept over the range that it
    has under the aggregated posterior, its mean ± 2 standard deviations. The dimension with the largest KL comes first.

    Args:
        model: with one layer of real latents, and a KL that is a sum over their dimensions.
        x: examples that the range and the KL are of, (N, *data_shape); hundreds.
        y: their class numbers, for a conditional model.
        base: the place in x of the example that is changed.
        most: dimensions shown.
        steps: images a dimension.
        seed: what the draws from the posteriors depend on.
        number: of the example in the title; `base` where there is none.

    Raises:
        ConfigError: for another latent, or one whose KL is not a sum over dimensions.
    """
    if not 0 <= base < len(x) or steps < 2 or most < 1:
        raise ConfigError(f"there is no traversal of example {base} of {len(x)} in {steps} steps of {most} dimensions")
    _flat_real_root(model, "traversals are")
    found = Posteriors.of(model, x, y, seed)
    if found.kl is None or len(x) < 2:
        raise ConfigError("traversals are in the order of KL, and here KL is not a sum over dimensions")
    order = found.kl.argsort(descending=True, stable=True)[:most]
    mean, sd = found.draws.mean(0), found.draws.std(0)
    sweep = torch.linspace(-2, 2, steps)
    z = found.code[base].repeat(len(order), steps, 1)
    for row, i in enumerate(order.tolist()):
        z[row, :, i] = mean[i] + sweep * sd[i]
    images = _decoded(model, z.flatten(0, 1), None if y is None else y[base])
    rows = [f"z{i}   KL {found.kl[i]:.2f}" for i in order.tolist()]
    columns = [f"{value:+.1f} sd" if value else "mean" for value in sweep.tolist()]
    title = f"Example {base if number is None else number}, one dimension changed a row, over mean ± 2 sd of q(z)"
    return labelled(images, rows, columns, title)


def by_class(model: VAE, columns: int = 10, most: int = 20, seed: int = 0) -> "Figure":
    """New images of a conditional model, one class a row; the images of a column have one draw of z in common.

    Args:
        model: whose data have classes.
        columns: images a class.
        most: classes shown, spread evenly over those there are.
        seed: what the draws depend on.

    Raises:
        ConfigError: for a model that is not told a class.
    """
    classes = model.config.data.classes if model.config and model.config.data else ()
    if not model.conditional or not classes:
        raise ConfigError("a row for each class is of a conditional model, and this one is told no class")
    shown = torch.linspace(0, len(classes) - 1, min(most, len(classes))).round().long().tolist()
    images = torch.cat([model.sample(columns, y=i, seed=seed) for i in shown])
    rows, above = [words(classes[i]) for i in shown], [str(i + 1) for i in range(columns)]
    return labelled(images, rows, above, "Samples by class; one draw of z a column")


def arithmetic(
    model: VAE, a: Tensor, b: Tensor, c: Tensor, names: Sequence[str] = ("a", "b", "c"), steps: int = 5, y: Any = None
) -> "Figure":
    """Attributes as directions: what changes from `b` to `a`, added to `c` bit by bit.

    The direction is the mean code of many examples less that of many others, since the difference of two examples is mostly
    what else they differ in.

    Args:
        model: with real latents.
        a: examples with an attribute, (N, *data_shape).
        b: examples without it, (M, *data_shape).
        c: one or more others, whose mean code is taken.
        names: of the three.
        steps: images from c to c + a - b.
        y: one label for all, for a conditional model.

    Raises:
        ConfigError: for latents that cannot be added.

    References:
        Sampling Generative Networks (White; 2016), https://arxiv.org/abs/1609.04468, section 3.
    """
    if model.latent.root.support != "real":
        raise ConfigError(f"codes in a space of {model.latent.root.support} cannot be added")
    if len(names) != 3 or steps < 2 or not min(len(a), len(b), len(c)):
        raise ConfigError("arithmetic is of examples a, b and c with a name each, in two steps at least")
    means = [model.encode(x, y).mean(0) for x in (a, b, c)]
    t = torch.linspace(0, 1, steps, device=means[0].device).reshape(-1, *[1] * means[0].dim())
    images = model.decode(torch.cat([torch.stack(means[:2]), means[2] + t * (means[0] - means[1])]), y)
    first, second, third = (words(name, 12) for name in names)
    parts = [f"c + {f:.2g}\n(a - b)" for f in t.flatten().tolist()[1:]]
    columns = [f"a\n{first}", f"b\n{second}", f"c\n{third}", *parts]
    counts = f"mean codes of {len(a)}, {len(b)} and {len(c)} examples"
    return labelled(images, [""], columns, f"a - b + c: {counts}")


def _flat_real_root(model: VAE, what: str) -> None:
    """That what the decoder sees is the root itself, a row of real numbers; else a ConfigError."""
    root, shape = model.latent.root, tuple(model.latent.out_shape)
    if root.support != "real" or tuple(root.shape) != shape or len(shape) != 1:
        raise ConfigError(f"{what} of a row of real latents; this one is of shape {shape}, {root.support}")


def _decoded(model: VAE, z: Tensor, y: Any) -> Tensor:
    return torch.cat([model.decode(some, y if model.conditional else None).cpu() for some in z.split(256)])
