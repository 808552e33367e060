"""Distributions on the unit sphere, with densities by its area."""

from collections.abc import Callable
from math import lgamma, log, pi
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit_manifolds.angles import angles
from vaekit_manifolds.bessel import log_bessel

Sizes = torch.Size | list[int] | tuple[int, ...]


class UniformOnSphere(Distribution):
    """The uniform distribution of N unit vectors with D coordinates each.

    Args:
        like: a floating-point tensor (N, D), on whose device and in whose dtype draws are.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, like: Tensor) -> None:
        self.like = like
        super().__init__(like.shape[:1], like.shape[1:], validate_args=False)

    def rsample(self, sample_shape: Sizes = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return F.normalize(torch.randn(shape, dtype=self.like.dtype, device=self.like.device), dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return self.like.new_full(batch, -log_area(self.event_shape[0]))


class VonMisesFisher(Distribution):
    r"""$\log q(z) = \kappa \mu^\top z + v \log \kappa - (v + 1) \log 2\pi - \log I_v(\kappa)$ with $v = D / 2 - 1$.

    Draws are $\mu \cos\theta + t \sin\theta$ with the angle θ by its quantile function and t uniform on the unit vectors
    orthogonal to μ, turned along with μ on the shortest way; so their gradients to μ and κ are bounded, and exact in
    expectation. A second derivative through the draws is not right, though.

    Args:
        loc: unit vectors μ (N, D).
        concentration: κ (N,), positive.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor) -> None:
        self.loc, self.concentration = loc, concentration
        self.order = loc.shape[-1] / 2 - 1
        super().__init__(loc.shape[:1], loc.shape[1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """μ, shorter the less concentrated it is."""
        kappa = _precise(self.concentration)
        length = 1 - log_bessel(kappa, self.order)[1] / kappa
        return length.to(self.loc.dtype)[:, None] * self.loc

    def rsample(self, sample_shape: Sizes = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        theta = self._angle(shape[:-1])[..., None]
        loc = self.loc.detach()
        across = F.normalize(normal - (normal * loc).sum(-1, keepdim=True) * loc, dim=-1)
        across = across - (across * self.loc).sum(-1, keepdim=True) * self.loc
        return theta.cos() * self.loc + theta.sin() * across

    def log_prob(self, value: Tensor) -> Tensor:
        kappa = _precise(self.concentration)
        constant = log_bessel(kappa, self.order)[0] - (self.order + 1) * log(2 * pi)
        gap = ((value - self.loc) ** 2).sum(-1)  # 2 - 2 μᵀz, without the loss of digits
        return constant.to(self.loc.dtype) - self.concentration * gap / 2

    def _angle(self, shape: torch.Size) -> Tensor:
        kappa = _precise(self.concentration)
        u = torch.rand(len(kappa), shape[:-1].numel(), dtype=kappa.dtype, device=kappa.device)
        theta, slope = (t.T.reshape(shape).to(self.loc.dtype) for t in angles(u, kappa, self.event_shape[0]))
        return theta + slope * (self.concentration - self.concentration.detach())

    def _kl_to_uniform(self, p: UniformOnSphere) -> Tensor:
        kappa = _precise(self.concentration)
        log_scaled, b = log_bessel(kappa, self.order)
        kl = log_scaled - b - self.order * log(2) - lgamma(self.order + 1)
        return kl.to(self.loc.dtype)

    closed_kl: ClassVar[dict[type, Callable[..., Tensor]]] = {UniformOnSphere: _kl_to_uniform}


def log_area(features: int) -> float:
    """Of the unit sphere in so many dimensions."""
    return log(2) + features / 2 * log(pi) - lgamma(features / 2)


def _precise(kappa: Tensor) -> Tensor:
    """In float64 where the device has it: there are few numbers, and large terms in them cancel."""
    return kappa if kappa.device.type == "mps" else kappa.double()
