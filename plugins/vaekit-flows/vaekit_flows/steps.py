"""Invertible maps of vectors, with the log-determinants of their Jacobians: the steps of flows.

Each step takes z (…, D) and what it is told of each example, (N, told), and gives where z goes and the log |det| of that, (…);
`inverse` is the way back with its own log |det|.

Only the splines are zuko's. It has no planar flow, and its autoregressive and coupling flows do not compile as one graph.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit_flows.nets import Net
from vaekit_flows.splines import NUMBERS, spline

Mapped = tuple[Tensor, Tensor]
_HALVINGS = 40


class Planar(nn.Module):
    r"""$f(z) = z + \hat u \tanh(w^\top z + b)$, where u, w and b are all told.

    It is invertible because $\hat u = u + (m(w^\top u) - w^\top u) w / \|w\|^2$ has $w^\top \hat u = m(w^\top u) > -1$. Here
    $m(x) = \log(1 + (e - 1) e^x) - 1$, the paper's own m but for a shift which makes m(0) = 0: so û = 0 where u = 0.

    Args:
        dimensions: D.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.told = 2 * dimensions + 1
        self.dimensions = dimensions

    def forward(self, z: Tensor, told: Tensor) -> Mapped:
        u, w, b, stretch = self._split(told)
        t = torch.tanh(_dot(w, z) + b)
        return z + u * t[..., None], _log_slope(t, stretch)

    def inverse(self, z: Tensor, told: Tensor) -> Mapped:
        r"""With $\alpha = w^\top f^{-1}(z) + b$, what there is to solve is $\alpha + m \tanh \alpha = w^\top z + b$.

        Its left side grows with α. Halving an interval finds α, and one step of Newton's method then carries the gradient.
        """
        u, w, b, stretch = self._split(told)
        wanted = _dot(w, z) + b
        m = stretch - 1
        with torch.no_grad():
            alpha, half = wanted.clone(), m.abs()
            for _ in range(_HALVINGS):
                half = half / 2
                alpha = alpha + torch.where(alpha + m * torch.tanh(alpha) < wanted, half, -half)
        t = torch.tanh(alpha)
        alpha = alpha - (alpha + m * t - wanted) / _log_slope(t, stretch).exp()
        t = torch.tanh(alpha)
        return z - u * t[..., None], -_log_slope(t, stretch)

    def _split(self, told: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""û, w, b and $1 + w^\top \hat u$."""
        u, w, b = told.split((self.dimensions, self.dimensions, 1), -1)
        along = _dot(w, u)
        stretch = F.softplus(along + _SHIFT)
        u = u + ((stretch - 1 - along) / w.square().sum(-1).clamp(min=1e-12))[..., None] * w
        return u, w, b[..., 0], stretch


_SHIFT = 0.541324854612918  # log(e - 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)


def _log_slope(t: Tensor, stretch: Tensor) -> Tensor:
    r"""$\log(1 + m (1 - t^2))$ as a sum of what is positive, so that nothing cancels."""
    return (t.square() + (1 - t.square()) * stretch).log()


class Autoregressive(nn.Module):
    r"""$f(z)_i = \sigma_i z_i + \mu_i$, where σ and μ are given by a masked network of $z_1, \ldots, z_{i-1}$; then reversed.

    The way back takes D passes through the network, one for each dimension.

    Args:
        dimensions: D.
        hidden: widths of the network.
        gated: whether $\mu = (1 - \sigma) m$ with $\sigma < 1$, which begins at 0.73; σ is between e⁻⁷ and e⁷ otherwise, and
            begins at 1.
    """

    def __init__(self, dimensions: int, hidden: tuple[int, ...], *, gated: bool) -> None:
        super().__init__()
        self.net = Net(dimensions, 2 * dimensions, hidden, autoregressive=True)
        self.told = hidden[0]
        self.dimensions = dimensions
        self.gated = gated

    def forward(self, z: Tensor, told: Tensor) -> Mapped:
        shift, log_scale = self._affine(z, told)
        return (z * log_scale.exp() + shift).flip(-1), log_scale.sum(-1)

    def inverse(self, z: Tensor, told: Tensor) -> Mapped:
        z = z.flip(-1)
        found = z[..., :0]
        for i in range(self.dimensions):
            shift, log_scale = self._affine(F.pad(found, (0, self.dimensions - i)), told)
            found = torch.cat([found, ((z - shift) * (-log_scale).exp())[..., i : i + 1]], -1)
        return found, -log_scale.sum(-1)

    def _affine(self, z: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        m, s = self.net(z, told).chunk(2, -1)
        if not self.gated:
            return m, s / (1 + s.abs() / 7)
        return torch.sigmoid(-s - 1) * m, F.logsigmoid(s + 1)


class Coupling(nn.Module):
    """Splines of the second half of z that the first half decides on; then the halves change places.

    Both ways take one pass through the network.

    Args:
        dimensions: D; where it is 1, what is told alone decides.
        hidden: widths of the network.
    """

    def __init__(self, dimensions: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.kept = dimensions // 2
        self.moved = dimensions - self.kept
        self.net = Net(self.kept, self.moved * NUMBERS, hidden)
        self.told = hidden[0]

    def forward(self, z: Tensor, told: Tensor) -> Mapped:
        kept, moved = z.split((self.kept, self.moved), -1)
        moved, slopes = spline(self._numbers(kept, told)).call_and_ladj(moved)
        return torch.cat([moved, kept], -1), slopes.sum(-1)

    def inverse(self, z: Tensor, told: Tensor) -> Mapped:
        moved, kept = z.split((self.moved, self.kept), -1)
        bent = spline(self._numbers(kept, told))
        moved = bent.inv(moved)
        return torch.cat([kept, moved], -1), -bent.call_and_ladj(moved)[1].sum(-1)

    def _numbers(self, kept: Tensor, told: Tensor) -> Tensor:
        numbers: Tensor = self.net(kept, told).unflatten(-1, (self.moved, NUMBERS))
        return numbers


class Chain(nn.Module):
    """Steps one after the other, each told its own share."""

    def __init__(self, steps: Sequence[Planar | Autoregressive | Coupling]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.shares = [step.told for step in steps]
        self.told = sum(self.shares)

    def forward(self, z: Tensor, told: Tensor) -> Mapped:
        log_det = z.new_zeros(())
        for step, share in zip(self.steps, told.split(self.shares, -1), strict=True):
            z, more = step(z, share)
            log_det = log_det + more
        return z, log_det

    def inverse(self, z: Tensor, told: Tensor) -> Mapped:
        log_det = z.new_zeros(())
        steps: list[Any] = list(self.steps)
        for step, share in zip(reversed(steps), reversed(told.split(self.shares, -1)), strict=True):
            z, more = step.inverse(z, share)
            log_det = log_det + more
        return z, log_det
