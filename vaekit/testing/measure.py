"""Sums and integrals over toy spaces: points, and how much of the space each of them stands for."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.parts import Space
from vaekit.testing.case import require

_POINTS = {1: 40_001, 2: 701}  # along each axis of a real space of so many dimensions
_DRAWS = 20_000
_AT_ONCE = 200_000


def measured(space: Space, draws: Tensor) -> tuple[Tensor, Tensor] | None:
    """Points (P, *shape) of a space and their measures (P,), float64; None where it has too many dimensions.

    A real space is measured through the quantiles of a Cauchy distribution, which reach as far as any density does.

    Args:
        space: of which.
        draws: (M, *shape), to know where a density on a real space is.
    """
    match space.support, space.dimensions:
        case "real", 1 | 2:
            points, weights = _real(draws.flatten(1).double())
        case "codes", _ if (space.size or 1) ** space.dimensions <= _AT_ONCE:
            codes = torch.arange(space.size or 1)
            points = torch.cartesian_prod(*[codes] * space.dimensions).reshape(-1, space.dimensions)
            weights = torch.ones(len(points), dtype=torch.float64)
        case "sphere", 2:
            angle = 2 * math.pi * _middles(20_000)
            points, weights = torch.stack([angle.cos(), angle.sin()], 1), torch.full_like(angle, 2 * math.pi / len(angle))
        case "sphere", 3:
            height = 2 * _middles(40_000) - 1  # equal heights are equal areas; the golden angle spreads them round
            angle = torch.arange(len(height)).double() * math.pi * (3 - math.sqrt(5))
            radius = (1 - height**2).sqrt()
            points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
            weights = torch.full_like(height, 4 * math.pi / len(height))
        case "ball", 2:
            radius, angle = torch.cartesian_prod(_middles(500), 2 * math.pi * _middles(500)).T
            points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
            weights = radius * 2 * math.pi / 500**2
        case "simplex", 3:
            first, share = torch.cartesian_prod(_middles(500), _middles(500)).T
            points = torch.stack([first, (1 - first) * share, (1 - first) * (1 - share)], 1)
            weights = (1 - first) / 500**2
        case _:
            return None
    return points.reshape(-1, *space.shape), weights


def _middles(n: int) -> Tensor:
    return (torch.arange(n).double() + 0.5) / n


def _real(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Middles of cells that a Cauchy distribution about the draws finds equally likely."""
    low, centre, high = torch.quantile(draws[:10_000], torch.tensor([0.25, 0.5, 0.75]).double(), dim=0)
    scale = ((high - low) / 1.35).clamp(min=1e-6)
    n = _POINTS[draws.shape[1]]
    turn = math.pi * (_middles(n) - 0.5)
    axes = [centre[i] + scale[i] * turn.tan() for i in range(draws.shape[1])]
    cells = [scale[i] * math.pi / n / turn.cos() ** 2 for i in range(draws.shape[1])]
    points = torch.cartesian_prod(*axes).reshape(-1, draws.shape[1])
    return points, torch.cartesian_prod(*cells).reshape(-1, draws.shape[1]).prod(1)


def require_normalised(p: Distribution, points: Tensor, weights: Tensor) -> Tensor:
    """Sum or integrate a distribution of one example; the probability of each point's cell (P,).

    Raises:
        CheckFailed: where the whole is not one.
    """
    log_p = torch.cat([p.log_prob(some[:, None])[:, 0].double() for some in points.split(_AT_ONCE)])
    mass = log_p.exp() * weights
    total = mass.sum().item()
    require(
        abs(total - 1) < 5e-3, f"its probabilities come to {total:.4g} in all, not to 1: a constant or a dimension is amiss"
    )
    return mass


def require_drawn_from(p: Distribution, points: Tensor, mass: Tensor) -> None:
    """Compare draws with the probabilities of the points: how many lie below each of a few quantiles of each coordinate.

    Raises:
        CheckFailed: where they differ by more than five standard errors.
    """
    draws = p.sample((_DRAWS,)).reshape(_DRAWS, -1).double()
    places = points.reshape(len(points), -1).double()
    for i in range(places.shape[1]):
        for level in (0.1, 0.3, 0.5, 0.7, 0.9):
            at = draws[:, i].quantile(level)
            wanted = mass[places[:, i] <= at + 1e-9].sum().clamp(0, 1)
            got = (draws[:, i] <= at + 1e-9).double().mean()
            error = (wanted * (1 - wanted) / _DRAWS).sqrt()
            require(
                bool((got - wanted).abs() < 5 * error + 5e-3),
                f"{got:.1%} of the draws lie at or below {at:.4g}, where log_prob says {wanted:.1%}",
            )
