"""Grids and strips of decoded images, as uint8 arrays without words."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit.blocks import evaluation
from vaekit.errors import ConfigError
from vaekit.figures.pixels import Picture, grid, stack
from vaekit.model import VAE


def samples(model: VAE, rows: int = 10, columns: int = 10, seed: int = 0, temperature: float = 1.0, y: Any = None) -> Picture:
    """New images: means of p(x | z) at draws from the prior; a conditional model gives one class a row, spread evenly."""
    classes = len(model.config.data.classes) if model.config and model.config.data else 0
    if y is None and model.conditional and classes:
        shown = torch.linspace(0, classes - 1, min(rows, classes)).round().long()
        rows, y = len(shown), shown.repeat_interleave(columns)
    return grid(model.sample(rows * columns, y=y, seed=seed, temperature=temperature), columns)


def reconstructions(model: VAE, x: Tensor, y: Any = None, columns: int = 10) -> Picture:
    """Originals, and under each row of them the reconstructions from their codes."""
    pairs = zip(x.split(columns), model.reconstruct(x, y).split(columns), strict=True)
    return stack([grid(row, columns) for pair in pairs for row in pair])


def interpolation(model: VAE, a: Tensor, b: Tensor, steps: int = 10, y: Any = None) -> Picture:
    """A strip: the first image, the decoded path between the two codes, the second image."""
    path = model.interpolate(a, b, steps, y).cpu()
    return grid(torch.cat([a[None].cpu(), path, b[None].cpu()]), steps + 2)


def loop(model: VAE, x: Tensor, y: Tensor | None = None, steps: int = 25) -> list[Picture]:
    """Frames of the way from the first example to the second and so on, and from the last back to the first, each leg as
    `interpolate` goes. Frame i · steps is the reconstruction of example i, and the first frame follows the last.

    Args:
        model: with latents that a path leads through.
        x: two examples or more, (N, *data_shape).
        y: their class numbers (N,), for a conditional model.
        steps: frames from one example to the next.

    Returns:
        N · steps pictures.

    Raises:
        ConfigError: for fewer examples or steps, or latents without paths.
    """
    if len(x) < 2 or steps < 1:
        raise ConfigError(f"there is no way through {len(x)} examples in {steps} steps each: give at least two and one")
    labels = y if model.conditional else None
    ends = [(i, (i + 1) % len(x)) for i in range(len(x))]
    legs = [model.interpolate(x[a], x[b], steps + 1, None if labels is None else labels[[a, b]])[:-1] for a, b in ends]
    return [grid(image[None], 1) for leg in legs for image in leg]


def manifold(model: VAE, n: int = 20, y: Any = None) -> Picture:
    """The plane of a two-dimensional latent, decoded at the quantiles of its normal prior, so that each image stands for as
    much probability as any other. The first dimension grows to the right, the second upwards.

    Args:
        model: whose latent has two real dimensions and a diagonal normal prior.
        n: images a side, at the quantiles from 0.5 / n to 1 - 0.5 / n.
        y: the one label that all are decoded with, for a conditional model.

    Raises:
        ConfigError: for another latent or prior, or a conditional model without a label.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, figure 4.
    """
    if n < 1:
        raise ConfigError(f"n is {n}: a manifold has at least one image a side")
    root, shape = model.latent.root, model.latent.out_shape
    if root.support != "real" or tuple(shape) != (2,) or tuple(root.shape) != (2,):
        raise ConfigError(
            f"a manifold is of two real latent dimensions; this model's latent is of shape {tuple(shape)}, {root.support}: "
            "traversals show others"
        )
    if model.conditional and y is None:
        raise ConfigError("a manifold is of one class of a conditional model: give y")
    with torch.no_grad(), evaluation(model):
        classes = model.config.data.classes if model.config and model.config.data else ()
        labels = model.context.parse(y, 1, classes)
        c = model.context(None if labels is None else labels.to(model.context.empty.device), 1)
        loc, scale = _moments(model.prior_z(c), model.prior.name)
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    down, across = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    z = loc.cpu() + scale.cpu() * torch.stack([across, down], -1).reshape(-1, 2)
    return grid(model.decode(z, y), n, gap=0)


def _moments(prior: Distribution, name: str) -> tuple[Tensor, Tensor]:
    if not (isinstance(prior, Independent) and isinstance(prior.base_dist, Normal)):
        raise ConfigError(f"a manifold lies on the quantiles of a normal prior; prior {name!r} is none")
    return prior.base_dist.loc.float(), prior.base_dist.scale.float()
