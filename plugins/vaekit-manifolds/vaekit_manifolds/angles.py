"""The angle between a draw from a von Mises-Fisher distribution and its mean direction."""

from math import pi, sqrt

import torch
from torch import Tensor

_CELLS = 32
_REACH = 9.0
_BETWEEN = sqrt(0.6)
_NODES = ((1 - _BETWEEN) / 2, 0.5, (1 + _BETWEEN) / 2)
_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)
_STEPS = 6


def angles(u: Tensor, kappa: Tensor, features: int) -> tuple[Tensor, Tensor]:
    r"""$\theta = F^{-1}(u)$ and $d\theta / d\kappa = -\partial_\kappa F(\theta) / f(\theta)$, without gradients.

    $f(\theta) \propto e^{\kappa \cos\theta} \sin^{D-2} \theta$ on [0, π], and F is its integral, by Gauss-Legendre quadrature
    with three nodes in each of 32 cells that reach 9 standard deviations or more to both sides of the mode; less than 1e-7 lies
    beyond. Newton's method finds θ in its cell. Nothing is rejected, so that every draw takes the same time and moves smoothly
    with κ.

    Args:
        u: in (0, 1), (N, S).
        kappa: concentrations, (N,).
        features: D, 2 or more.

    Returns:
        Two tensors (N, S).

    References:
        Implicit Reparameterization Gradients (Figurnov, Mohamed, Mnih; 2018), https://arxiv.org/abs/1805.08498, section 3.
    """
    with torch.no_grad():
        return _Table(kappa[:, None], features - 2).invert(u)


class _Table:
    """Integrals over the cells of f, and of f times its slope in κ: all (N, cells)."""

    def __init__(self, kappa: Tensor, power: int) -> None:
        self.kappa, self.power = kappa, power
        over_kappa = 2 / (power + (power * power + 4 * kappa * kappa).sqrt())
        cos_mode = kappa * over_kappa
        mode = torch.atan2((power * over_kappa).sqrt(), cos_mode)
        reach = _REACH * (kappa * cos_mode + power).rsqrt()
        self.low = (mode - reach).clamp(min=0)
        self.width = ((mode + reach).clamp(max=pi) - self.low) / _CELLS
        self.nodes, self.weights = kappa.new_tensor(_NODES), kappa.new_tensor(_WEIGHTS)
        cells = torch.arange(_CELLS, dtype=kappa.dtype, device=kappa.device)[:, None]
        log_f, fall = self._log_f(self.low[..., None] + self.width[..., None] * (cells + self.nodes))
        self.top = log_f.flatten(1).amax(1, keepdim=True)
        self.rise = (log_f[..., 2] - log_f[..., 0]) / _BETWEEN
        f = (log_f - self.top[..., None]).exp() * self.weights
        self.mass = f.sum(-1)
        self.below = self.mass.cumsum(-1)
        self.mean_fall = (f * fall).sum((1, 2))[:, None] / self.below[:, -1:]
        self.tilt = (f * (self.mean_fall[..., None] - fall)).sum(-1)
        self.tilt_below = self.tilt.cumsum(-1)

    def invert(self, u: Tensor) -> tuple[Tensor, Tensor]:
        wanted = u * self.below[:, -1:]
        cell = torch.searchsorted(self.below, wanted).clamp(max=_CELLS - 1)
        mass, rise = self.mass.gather(1, cell), self.rise.gather(1, cell)
        wanted = wanted - (self.below.gather(1, cell) - mass)
        start = self.low + self.width * cell
        rise = torch.where(rise.abs() < 1e-3, 1e-3, rise.clamp(-30, 30))
        share = (wanted / mass.clamp(min=torch.finfo(u.dtype).tiny)).clamp(0, 1)
        share = (torch.log1p(share * torch.expm1(rise)) / rise).clamp(0, 1)  # exact where log f is straight
        for _ in range(_STEPS):
            f, _ = self._part(start, share)
            share = (share - (f.sum(-1) * share - wanted) / self._f(start + self.width * share)).clamp(0, 1)
        theta = start + self.width * share
        f, fall = self._part(start, share)
        tilt = self.tilt_below.gather(1, cell) - self.tilt.gather(1, cell)
        tilt = tilt + (f * (self.mean_fall[..., None] - fall)).sum(-1) * share
        return theta, -self.width * tilt / self._f(theta)

    def _part(self, start: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted values of f at the nodes of the first part of a cell, and the fall there, (N, S, 3)."""
        log_f, fall = self._log_f(start[..., None] + (self.width * share)[..., None] * self.nodes)
        return (log_f - self.top[..., None]).exp() * self.weights, fall

    def _f(self, theta: Tensor) -> Tensor:
        log_f = self._log_f(theta[..., None])[0][..., 0]
        return (log_f - self.top).exp().clamp(min=torch.finfo(theta.dtype).tiny)

    def _log_f(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """log f but for its constant, and $1 - \\cos\\theta$."""
        fall = 2 * (theta / 2).sin() ** 2
        log_sin = theta.sin().clamp(min=torch.finfo(theta.dtype).tiny).log()
        return self.power * log_sin - self.kappa[..., None] * fall, fall
