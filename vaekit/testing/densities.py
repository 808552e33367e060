"""What priors and likelihoods are held to besides: they are distributions, and draw what they score."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.parts import Space
from vaekit.shapes import Shape
from vaekit.testing.case import Case, require
from vaekit.testing.measure import measured, probabilities, require_drawn_from, require_normalised, require_one
from vaekit.testing.outcomes import NotApplicable

_SAMPLES = 4000
_ONE: tuple[Shape, ...] = ((1,), (1, 1), (1, 1, 1))
_TWO: tuple[Shape, ...] = ((2,), (1, 2), (1, 1, 2))


def check_prior_is_normalised(case: Case) -> None:
    """Its log_prob sums or integrates to one, and it draws what log_prob says, on spaces of few dimensions."""
    seen = 0
    for wiring in case.accepted:
        root = wiring.arguments["root"]
        with torch.no_grad():
            bench = case.bench(wiring).double()
            p = bench.distribution(torch.randn(1, wiring.width).double())
            draws = p.sample((_SAMPLES,))[:, 0]
            if measured(root, draws, 0.1) is not None:
                require_normalised(p, root, draws)
                seen += 1
    if not seen:
        raise NotApplicable("it takes no space of so few dimensions that it could be integrated over")


def check_likelihood_is_normalised(case: Case) -> None:
    """Its log_prob sums or integrates to one over one number and over two, and it draws what log_prob says."""
    with torch.no_grad():
        for shapes in (_ONE, _TWO):
            part, shape = _first(case, shapes)
            case.at = f"data_shape {shape}"
            for theta in torch.randn(2, 1, *part.in_shape).double():
                if part.base_measure == "counting":
                    p, points = _counted(part, shape, theta)
                    mass = probabilities(p, points, torch.ones(len(points)).double())
                    require_one(mass.sum().item())
                    require_drawn_from(p, points, mass)
                else:
                    p = part(theta)
                    require_normalised(p, Space(shape), p.sample((_SAMPLES,))[:, 0], part.support)


def check_mean_matches_samples(case: Case) -> None:
    """The mean is that of the draws, which lie in the support."""
    for bench in case.benches():
        theta, _ = bench.inputs(3)
        with torch.no_grad():
            p = bench.part(theta)
            draws = p.sample((_SAMPLES,))
            require(
                bool(bench.part.support.check(draws).all()),
                f"some of its draws lie outside of its support, {bench.part.support}",
            )
            error = (_variance(p, draws) / _SAMPLES).sqrt()
            gap = (p.mean - draws.mean(0)).abs() - 5 * error - 5e-3
        require(
            bool((gap < 0).all()),
            f"the mean is off that of {_SAMPLES} draws by {gap.max() + 5e-3:.3g} beyond five standard errors",
        )


def check_half_precision_is_promoted(case: Case) -> None:
    """θ in bf16 is scored as the same θ in float32, under autocast too: not a nat is lost."""
    for bench in case.benches():
        theta, x = bench.inputs(3)
        half = theta.bfloat16()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            low = bench.part(half).log_prob(x)
        with torch.no_grad():
            full = bench.part(half.float()).log_prob(x)
        require(low.dtype == torch.float32, f"θ in bf16 is scored in {low.dtype}: promote it by vaekit.distributions")
        gap = (low - full).abs().max().item()
        require(gap <= 1e-3 * full.abs().max().item() + 1e-3, f"θ in bf16 is scored {gap:.3g} nats off: promote it first")


def _first(case: Case, shapes: tuple[Shape, ...]) -> tuple[Any, Shape]:
    """The part in float64, for the first of the shapes that it takes."""
    for shape in shapes:
        part = case.built({"data_shape": shape})
        if part is not None:
            return part.double(), shape
    raise NotApplicable(f"it takes data of none of the shapes {', '.join(map(str, shapes))}, which could be summed over")


def _counted(part: Any, shape: Shape, theta: Tensor) -> tuple[Distribution, Tensor]:
    """A likelihood over a countable set, and all points that it could give; θ nearer to 0 where they are too many."""
    for calm in (1.0, 0.5, 0.1):
        p: Distribution = part(calm * theta)
        values = _values(part, p)
        if len(values) ** prod(shape) <= 1_000_000:
            return p, torch.cartesian_prod(*[values] * prod(shape)).reshape(-1, *shape)
    raise NotApplicable("it gives so many values that they cannot be summed over")


def _values(part: Any, p: Distribution) -> Tensor:
    """The numbers that a likelihood gives: all the whole ones as far as draws reach and further, or all that are ever seen."""
    draws = p.sample((_SAMPLES,)).double()
    require(
        len(draws.unique()) < max(3, draws.numel() / 2),
        "it says that it counts, and its draws hardly repeat: base_measure = 'lebesgue'",
    )
    if (draws == draws.round()).all() and draws.max() > 1:
        whole = torch.arange(min(0, 2 * int(draws.min())), 4 * int(draws.max()) + 50).double()
        return whole[part.support.check(whole)]
    spread = torch.tensor([0.5, 1.0, 3.0]).double().repeat(100)
    theta = torch.randn(300, *part.in_shape).double() * spread.reshape(-1, *(1 for _ in part.in_shape))
    seen: Tensor = part(theta).sample((1000,)).unique().double()
    return seen


def _variance(p: Distribution, draws: Tensor) -> Tensor:
    """The variance of each number; that of the draws where the distribution does not know its own."""
    try:
        own = p.variance
    except NotImplementedError:
        own = draws.var(0)
    return torch.where(own.isfinite(), own, draws.var(0))
