"""The maximum mean discrepancy between two sets of points."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vaekit import Site, distributions

Kernel = Literal["imq", "rbf"]
Scales = Annotated[tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...], Field(min_length=1, max_length=16, strict=False)]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def from_prior(site: Site, kernel: Kernel, scales: tuple[float, ...]) -> Tensor:
    """The discrepancy between the first draws of a batch and as many of the prior."""
    with distributions.full_precision(site.z):
        prior = site.p.rsample() if site.p.has_rsample else site.p.sample()
        return mmd(site.z[0].flatten(1), prior.flatten(1), kernel, scales)


def mmd(a: Tensor, b: Tensor, kernel: Kernel, scales: tuple[float, ...]) -> Tensor:
    r"""The unbiased estimate of $\mathbb E k(a, a') + \mathbb E k(b, b') - 2 \mathbb E k(a, b)$ from a and b, (N, D).

    Of one point each, only the last term is there.
    """
    pairs = max(len(a) * (len(a) - 1), 1)
    within = _between_others(a, kernel, scales) + _between_others(b, kernel, scales)
    return within / pairs - 2 * _kernel(a, b, kernel, scales).mean()


def _between_others(a: Tensor, kernel: Kernel, scales: tuple[float, ...]) -> Tensor:
    """The sum of k over all pairs of two different points."""
    k = _kernel(a, a, kernel, scales)
    return k.sum() - k.diagonal().sum()


def _kernel(a: Tensor, b: Tensor, kernel: Kernel, scales: tuple[float, ...]) -> Tensor:
    """k of every point with every other, (N, M), from 0 to 1; a mean over scales of what two normal draws are apart."""
    middle = (a.mean(0) + b.mean(0)).detach() / 2  # far from the origin all digits of the distances would be lost
    a, b = a - middle, b - middle
    square = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
    by = [2 * a.shape[1] * scale for scale in scales]
    each = [(-square / s).exp() if kernel == "rbf" else s / (s + square) for s in by]
    return torch.stack(each).mean(0)
