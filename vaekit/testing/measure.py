"""Sums and integrals over toy spaces: points, and how much of the space each of them stands for."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaekit.parts import Space
from vaekit.testing.case import require
from vaekit.testing.outcomes import NotApplicable

_POINTS = {1: 20_000, 2: 400}  # along each axis of a real space of so many dimensions, twice
_DRAWS = 20_000
_AT_ONCE = 200_000
_OFF = 5e-3  # that a whole may be off one


def measured(
    space: Space, draws: Tensor, share: float = 1.0, support: Constraint | None = None
) -> tuple[Tensor, Tensor] | None:
    """Points (P, *shape) of a space and their measures (P,), float64; None where it has too many dimensions.

    The measure is that of the surface on the sphere, of the volume in the ball, that of all coordinates but the last on the
    simplex, and counting for codes.

    Args:
        space: of which.
        draws: (M, *shape), to know where a density on a real space is.
        share: of the points along each axis; fewer, to see whether there are enough.
        support: the numbers of a real space that are meant, an interval.
    """
    match space.support, space.dimensions:
        case "real", 1 | 2:
            points, weights = _real(draws.flatten(1).double(), share, support)
        case "codes", _ if (space.size or 1) ** space.dimensions <= _AT_ONCE:
            codes = torch.arange(space.size or 1)
            points = torch.cartesian_prod(*[codes] * space.dimensions).reshape(-1, space.dimensions)
            weights = torch.ones(len(points), dtype=torch.float64)
        case "sphere", 2:
            angle = 2 * math.pi * _middles(20_000 * share)
            points, weights = torch.stack([angle.cos(), angle.sin()], 1), torch.full_like(angle, 2 * math.pi / len(angle))
        case "sphere", 3:
            height = 2 * _middles(40_000 * share) - 1  # equal heights are equal areas; the golden angle spreads them round
            angle = torch.arange(len(height)).double() * math.pi * (3 - math.sqrt(5))
            radius = (1 - height**2).sqrt()
            points = torch.stack([radius * angle.cos(), radius * angle.sin(), height], 1)
            weights = torch.full_like(height, 4 * math.pi / len(height))
        case "ball", 2:
            radius, angle = torch.cartesian_prod(_middles(500 * share), 2 * math.pi * _middles(500 * share)).T
            points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
            weights = radius * 2 * math.pi / len(radius)
        case "simplex", 3:
            turn = math.pi / 2 * _middles(700 * share)  # sines crowd towards the edges, where densities may be high
            first, second = torch.cartesian_prod(turn, turn).T
            high, low, rest = first.sin() ** 2, first.cos() ** 2, second.sin() ** 2
            points = torch.stack([high, low * rest, low * second.cos() ** 2], 1)
            weights = low * (math.pi / 2) ** 2 * (2 * first).sin() * (2 * second).sin() / len(first)
        case _:
            return None
    return points.reshape(-1, *space.shape), weights


def _middles(n: float) -> Tensor:
    return (torch.arange(int(n)).double() + 0.5) / int(n)


def _real(draws: Tensor, share: float, support: Constraint | None) -> tuple[Tensor, Tensor]:
    """A product of axes with points where the draws are, and others as far out as any density reaches."""
    n = int(_POINTS[draws.shape[1]] * share)
    axes = [_axis(coordinate, n, support) for coordinate in draws.T]
    points = torch.cartesian_prod(*[nodes for nodes, _ in axes]).reshape(-1, len(axes))
    return points, torch.cartesian_prod(*[lengths for _, lengths in axes]).reshape(-1, len(axes)).prod(1)


def _axis(draws: Tensor, n: int, support: Constraint | None) -> tuple[Tensor, Tensor]:
    """Quantiles of the draws and of a Cauchy distribution about them, and the length of the cell about each."""
    low, centre, high = draws.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
    scale = ((high - low) / 1.35).clamp(min=1e-6)
    far = centre + scale * (math.pi * (_middles(n) - 0.5)).tan()
    nodes = torch.cat([far, draws.quantile(_middles(n))]).unique()
    first, last = nodes[:1], nodes[-1:]
    if support is not None:
        inside = support.check(nodes).nonzero()[:, 0]
        first = _edge(nodes, int(inside[0]), -1, support)
        last = _edge(nodes, int(inside[-1]), 1, support)
        nodes = nodes[inside]
    edges = torch.cat([first, (nodes[1:] + nodes[:-1]) / 2, last])
    return nodes, edges.diff()


def _edge(nodes: Tensor, at: int, step: int, support: Constraint) -> Tensor:
    """Where the support ends beyond a node; the node itself where it is the outermost."""
    within = nodes[at : at + 1]
    if not 0 <= at + step < len(nodes):
        return within
    beyond = nodes[at + step : at + step + 1]
    for _ in range(60):
        middle = (within + beyond) / 2
        within, beyond = (middle, beyond) if support.check(middle).all() else (within, middle)
    return within


def probabilities(p: Distribution, points: Tensor, weights: Tensor) -> Tensor:
    """Those of the cells about the points (P,), of a distribution of one example."""
    log_p = torch.cat([p.log_prob(some[:, None])[:, 0].double() for some in points.split(_AT_ONCE)])
    return log_p.exp() * weights


def require_normalised(p: Distribution, space: Space, draws: Tensor, support: Constraint | None = None) -> None:
    """Integrate a distribution of one example over a space, and compare its draws with that.

    Args:
        p: on the space.
        space: in which a density with narrow peaks is hard to see; it is looked at with fewer points too.
        draws: (M, *shape), from p.
        support: outside of which p has no density.

    Raises:
        CheckFailed: where the whole is not one, or the draws are others.
        NotApplicable: where the integral depends on the points.
    """
    totals = []
    for share in (1.0, 0.7):
        found = measured(space, draws, share, support)
        assert found is not None
        points, weights = found
        mass = probabilities(p, points, weights)
        totals.append(mass.sum().item())
        if abs(totals[0] - 1) < _OFF:
            require_drawn_from(p, points, mass)
            return
    if abs(totals[1] - totals[0]) > 0.2 * abs(totals[0] - 1):
        raise NotApplicable(f"its density is too rough to be integrated here: {totals[0]:.4g} or {totals[1]:.4g}")
    require_one(totals[0])


def require_one(total: float) -> None:
    """Fail where probabilities do not come to one."""
    said = f"its probabilities come to {total:.4g} in all, not to 1: a constant or a dimension is amiss"
    require(abs(total - 1) < _OFF, said)


def require_drawn_from(p: Distribution, points: Tensor, mass: Tensor) -> None:
    """Compare draws with the probabilities of the points: how many lie below each of a few quantiles of each coordinate, and
    of the sum and the difference of two.

    Raises:
        CheckFailed: where they differ by more than five standard errors.
    """
    draws = _with_diagonals(p.sample((_DRAWS,)).reshape(_DRAWS, -1).double())
    places = _with_diagonals(points.reshape(len(points), -1).double())
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


def _with_diagonals(points: Tensor) -> Tensor:
    """The coordinates, and the sum and the difference of the first two."""
    if points.shape[1] < 2:
        return points
    first, second = points[:, 0], points[:, 1]
    return torch.cat([points, torch.stack([first + second, first - second], 1)], 1)
