"""The wrapped normal distribution in the Poincaré ball, with densities by Euclidean volume."""

from math import atanh, log, sqrt
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints

Curvature = Annotated[float, Field(ge=1e-3, le=1e3)]
Sizes = torch.Size | list[int] | tuple[int, ...]


class WrappedNormalInBall(Distribution):
    r"""A normal in the tangent space at 0, moved to μ along the geodesic and wrapped onto the ball by the exponential map.

    All points are in the open unit ball with the metric $g_z = (4 / c) (1 - |z|^2)^{-2} I$ of curvature -c. With
    $z = \exp_\mu(P_{0 \to \mu}(v))$, $v \sim \mathcal N(0, \operatorname{diag} \sigma^2)$ in units of length, r = |v| the
    distance from μ to z and D dimensions,

    $$\log p(z) = \log \mathcal N(v; 0, \operatorname{diag} \sigma^2) + (D - 1) \log \frac{\sqrt c\, r}{\sinh \sqrt c\, r}
    + D \log \frac{2}{\sqrt c\, (1 - |z|^2)}.$$

    Args:
        tangent: the logarithm of μ at 0, (N, D), in units of length.
        scale: σ (N, D).
        curvature: c.

    References:
        Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (Mathieu, Le Lan, Maddison, Tomioka,
        Teh; 2019), https://arxiv.org/abs/1901.06033, section 3.
        A Wrapped Normal Distribution on Hyperbolic Space for Gradient-Based Learning (Nagano, Yamaguchi, Fujita, Koyama; 2019),
        https://arxiv.org/abs/1902.02992, algorithm 1.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, tangent: Tensor, scale: Tensor, curvature: float) -> None:
        self.loc, self.gap = exponential(tangent, curvature)
        self.scale, self.curvature = scale, curvature
        super().__init__(tangent.shape[:1], tangent.shape[1:], validate_args=False)

    def rsample(self, sample_shape: Sizes = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        step, step_gap = exponential(self.scale * noise, self.curvature)
        total = self.loc + step
        square = _square(total)
        z = (self.gap * total + square * self.loc) / (square + self.gap * step_gap)  # the Möbius sum of μ and the step
        return z * (_edge(z.dtype) / _length(z)).clamp(max=1)

    def log_prob(self, value: Tensor) -> Tensor:
        away = value - self.loc
        square, edge = _square(away), torch.finfo(value.dtype).eps
        gap = (1 - _square(value)).clamp(min=edge)
        product = self.gap * gap
        q = (square / product).clamp(min=1e-12).sqrt()  # sinh(√c r / 2)
        shrinking = q.asinh() / q
        unit = 2 / sqrt(self.curvature) * shrinking / (product * (square + product)).sqrt()
        v = (self.gap * away - square * self.loc) * unit
        features = self.event_shape[0]
        volume = (features - 1) * (shrinking.log() - torch.log1p(q * q) / 2) - features * gap.log()
        constant = features * log(2 / sqrt(self.curvature))
        normal: Tensor = Normal(0.0, self.scale, validate_args=False).log_prob(v).sum(-1)
        return normal + volume[..., 0] + constant


def exponential(tangent: Tensor, curvature: float) -> tuple[Tensor, Tensor]:
    """The point z (…, D) that a tangent vector at 0 leads to, and 1 - |z|² (…, 1), which z itself has fewer digits of.

    It is held where floats can tell the point from the boundary: that is some 15 from 0 in float32, in units of the radius of
    curvature.
    """
    half = tangent * (sqrt(curvature) / 2)
    length = _length(half)
    held = length.clamp(max=atanh(_edge(half.dtype)))
    return half * (held.tanh() / length), held.cosh() ** -2


def logarithm(z: Tensor, curvature: float) -> Tensor:
    """The tangent vector at 0 (…, D) that leads to z."""
    length = _length(z)
    return z * (length.clamp(max=_edge(z.dtype)).atanh() / length * (2 / sqrt(curvature)))


def geodesic(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Points (steps, D) of the unit ball, evenly apart by its metric, on the shortest way from a (D,) to b (D,)."""
    a, b = a.double(), b.double()  # near the boundary a sum has half of the digits
    way = _moebius_sum(-a, b)
    length = _length(way)
    share = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)[:, None]
    return _moebius_sum(a, way / length * (share * length.clamp(max=_edge(a.dtype)).atanh()).tanh())


def _moebius_sum(x: Tensor, y: Tensor) -> Tensor:
    """Of Mathieu et al. (2019), section 2.3, for the unit ball."""
    inner, of_x, of_y = (x * y).sum(-1, keepdim=True), _square(x), _square(y)
    return ((1 + 2 * inner + of_y) * x + (1 - of_x) * y) / (1 + 2 * inner + of_x * of_y)


def _edge(dtype: torch.dtype) -> float:
    return 1 - 8 * torch.finfo(dtype).eps


def _square(z: Tensor) -> Tensor:
    return (z * z).sum(-1, keepdim=True)


def _length(z: Tensor) -> Tensor:
    """|z| (…, 1), and a little more than 0 at 0, where it has no gradient."""
    return _square(z).clamp(min=1e-12).sqrt()
