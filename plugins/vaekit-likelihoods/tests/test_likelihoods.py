"""Each likelihood is a normalised density with all its constants, and samples what it scores."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as Theirs
from vaekit_likelihoods import Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Laplace
from vaekit_likelihoods.continuous_bernoulli import log_normaliser

import vaekit

CASES: list[tuple[type[vaekit.Likelihood], dict[str, Any]]] = [
    (Gaussian, {"variance": "fixed", "std": 0.3}),
    (Gaussian, {"variance": "scalar"}),
    (Gaussian, {"variance": "pixel"}),
    (Gaussian, {"variance": "predicted"}),
    (Gaussian, {"variance": "optimal", "std": 0.5}),
    (Laplace, {"scale": "fixed"}),
    (Laplace, {"scale": "predicted"}),
    (ContinuousBernoulli, {}),
    (Categorical, {"levels": 7}),
    (Categorical, {}),
    (DiscretizedLogistic, {}),
    (DiscretizedLogistic, {"levels": 5, "scale": "predicted", "initial": 0.3}),
]
_id = [f"{part.name}-{'-'.join(map(str, options.values()))}" for part, options in CASES]
all_cases = pytest.mark.parametrize(("part", "options"), CASES, ids=_id)


def _one(part: type[vaekit.Likelihood], options: dict[str, Any], seed: int = 0) -> tuple[vaekit.Likelihood, Tensor]:
    """The likelihood of a single number, and some θ for it."""
    likelihood = part((1,), **options).double().eval()
    theta = torch.randn(3, *likelihood.in_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return likelihood, theta


def _points(likelihood: vaekit.Likelihood) -> tuple[Tensor, Tensor]:
    """Every value and its weight, or a fine grid and its spacing."""
    if likelihood.base_measure == "counting":
        levels = likelihood.levels
        return torch.linspace(0, 1, levels, dtype=torch.float64), torch.ones(levels).double()
    low, high = (0.0, 1.0) if likelihood.name == "continuous-bernoulli" else (-60.0, 60.0)
    edges = torch.linspace(low, high, 400_001).double()
    return (edges[1:] + edges[:-1]) / 2, edges.diff()


@all_cases
def test_it_sums_or_integrates_to_one(part: type[vaekit.Likelihood], options: dict[str, Any]) -> None:
    likelihood, theta = _one(part, options)
    points, weight = _points(likelihood)
    log_p = likelihood(theta).log_prob(points[:, None, None].expand(-1, 3, 1))
    torch.testing.assert_close((log_p.exp() * weight[:, None]).sum(0), torch.ones(3).double(), atol=1e-4, rtol=0)


@all_cases
def test_the_mean_is_that_of_the_density(part: type[vaekit.Likelihood], options: dict[str, Any]) -> None:
    likelihood, theta = _one(part, options)
    points, weight = _points(likelihood)
    p = likelihood(theta)
    density = p.log_prob(points[:, None, None].expand(-1, 3, 1)).exp() * weight[:, None]
    torch.testing.assert_close(p.mean[:, 0], (density * points[:, None]).sum(0), atol=1e-4, rtol=0)


@all_cases
def test_samples_follow_the_density(part: type[vaekit.Likelihood], options: dict[str, Any]) -> None:
    """The distribution function of the samples is that of the density at a few points, within 4 standard errors."""
    likelihood, theta = _one(part, options)
    n = 20_000
    p = likelihood(theta)
    x = p.sample((n,))
    assert x.shape == (n, 3, 1)
    assert likelihood.support.check(x).all()
    points, weight = _points(likelihood)
    density = p.log_prob(points[:, None, None].expand(-1, 3, 1)).exp() * weight[:, None]
    for at in torch.quantile(x.flatten(), torch.tensor([0.1, 0.5, 0.9]).double()):
        want = density[points <= at].sum(0)
        got = (x[..., 0] <= at).double().mean(0)
        assert ((got - want).abs() < 4 * (want * (1 - want) / n).clamp(min=1e-8).sqrt() + 2e-3).all()


@all_cases
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 2), (6,)])
def test_dimensions_are_independent_and_summed(
    part: type[vaekit.Likelihood], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    likelihood = part(shape, **options).eval()
    theta = torch.randn(2, *likelihood.in_shape)
    p = likelihood(theta)
    x = p.sample()
    assert x.shape == p.mean.shape == (2, *shape)
    total = p.log_prob(x)
    assert total.shape == (2,)
    torch.testing.assert_close(p.log_prob(x.expand(3, 2, *shape)), total.expand(3, 2))
    other = likelihood(theta[:1])
    torch.testing.assert_close(other.log_prob(x[:1]), total[:1])


@all_cases
def test_every_parameter_and_theta_has_a_gradient(part: type[vaekit.Likelihood], options: dict[str, Any]) -> None:
    likelihood = part((2, 3, 3), **options)
    theta = torch.randn(4, *likelihood.in_shape, requires_grad=True)
    x = likelihood(theta).sample()
    likelihood(theta).log_prob(x).sum().backward()
    assert theta.grad is not None
    assert torch.isfinite(theta.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in likelihood.parameters())


@all_cases
def test_bf16_parameters_are_scored_in_float32(part: type[vaekit.Likelihood], options: dict[str, Any]) -> None:
    likelihood = part((3, 4, 4), **options).eval()
    theta = torch.randn(2, *likelihood.in_shape).bfloat16()
    x = likelihood(theta.float()).sample()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(likelihood(theta).log_prob(x), likelihood(theta.float()).log_prob(x))


@pytest.mark.parametrize("logit", [0.0, 1e-6, 0.05, 0.0999, 0.1001, 1.0, 16.0, 30.0, 100.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_continuous_bernoulli_is_exact_to_logits_of_a_hundred(logit: float, sign: int) -> None:
    value = sign * logit
    exact = abs(value) if abs(value) > 700 else (math.log(math.expm1(abs(value)) / abs(value)) if value else 0.0)
    exact = exact + (min(value, 0))  # log of the integral of exp(l x): for l < 0 it is that of -l, plus l
    logits = torch.tensor([[value]], dtype=torch.float32, requires_grad=True)
    got = log_normaliser(logits)
    assert got.item() == pytest.approx(exact, abs=2e-5, rel=1e-6)
    got.sum().backward()
    mean = 0.5 if value == 0 else (1 / -math.expm1(-value) - 1 / value)
    assert logits.grad.item() == pytest.approx(mean, abs=2e-4)
    p = ContinuousBernoulli((1,))(torch.tensor([[value]]))
    assert p.mean.item() == pytest.approx(mean, abs=2e-4)
    assert p.sample((4000,)).mean().item() == pytest.approx(mean, abs=0.03)


def test_torchs_own_continuous_bernoulli_agrees_where_it_is_right() -> None:
    logits = torch.linspace(-10, 10, 41).double()[:, None]
    x = torch.rand(41, 1).double()
    mine = ContinuousBernoulli((1,)).double()(logits).log_prob(x)
    torch.testing.assert_close(mine, Theirs(logits=logits).log_prob(x)[:, 0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0])
def test_the_discretized_logistic_is_finite_far_away_and_right_near(scale: float) -> None:
    part = DiscretizedLogistic((1,), scale="fixed", initial=scale)
    x = torch.linspace(0, 1, 256)[:, None]
    for loc in (-50.0, 0.0, 0.5, 50.0):
        log_p = part(torch.full((256, 1), loc)).log_prob(x)
        assert torch.isfinite(log_p).all()
    p = part(torch.full((256, 1), 0.5)).log_prob(x).double()
    edges = (torch.arange(257).double() - 0.5) / 255
    cdf = torch.sigmoid((edges - 0.5) / scale)
    cdf[0], cdf[-1] = 0, 1
    want = cdf.diff()
    sure = want > 1e-12
    torch.testing.assert_close(p.exp()[sure], want[sure], rtol=1e-3, atol=1e-7)


class TestOptimalVariance:
    """sigma-VAE: a profile likelihood in training, a density in evaluation."""

    def part(self) -> Gaussian:
        return Gaussian((3, 4), variance="optimal", floor=1e-3)

    def test_training_scores_with_the_variance_that_fits_best(self) -> None:
        part, theta, x = self.part(), torch.randn(5, 3, 4), torch.randn(5, 3, 4)
        variance = ((x - theta) ** 2).mean()
        got = part(theta).log_prob(x).sum()
        torch.testing.assert_close(got, -0.5 * 60 * (torch.log(2 * math.pi * variance) + 1))
        for other in (0.9, 1.1):
            density = torch.distributions.Normal(theta, variance.sqrt() * other)
            assert density.log_prob(x).sum() < got

    def test_it_is_labelled_no_bound_in_training_only(self) -> None:
        part = self.part()
        assert not part.exact
        assert part.eval().exact
        assert Gaussian((3,), variance="scalar").exact
        model, loss = vaekit.build(
            vaekit.Config(data_shape=(4,), likelihood={"name": "gaussian", "variance": "optimal"}, latent={"features": 1})
        )
        x, c = torch.randn(6, 4), torch.zeros(6, 0)
        assert set(loss(model, x, c).parts) == {"profile", "reconstruction", "kl"}
        assert set(loss(model.eval(), x, c).parts) == {"nelbo", "reconstruction", "kl"}

    def test_the_running_variance_follows_and_evaluation_uses_it(self) -> None:
        part = self.part()
        for _ in range(200):
            theta = torch.zeros(64, 3, 4)
            part(theta).log_prob(theta + 0.2 * torch.randn(64, 3, 4))
        part.eval()
        p = part(torch.zeros(1, 3, 4))
        assert p.stddev.mean().item() == pytest.approx(0.2, rel=0.05)
        torch.testing.assert_close(
            p.log_prob(torch.zeros(1, 3, 4)),
            torch.distributions.Normal(0, p.stddev[0, 0, 0]).log_prob(torch.zeros(12)).sum()[None],
        )
        before = part.mean_square.clone()
        p.log_prob(torch.ones(1, 3, 4))
        assert torch.equal(part.mean_square, before)

    def test_the_floor_holds(self) -> None:
        part, x = self.part(), torch.zeros(5, 3, 4)
        assert part(x).log_prob(x).sum().item() == pytest.approx(-60 * (math.log(1e-3) + 0.5 * math.log(2 * math.pi)), rel=1e-4)


def test_a_floor_above_the_start_is_refused() -> None:
    with pytest.raises(vaekit.ConfigError, match="must start above its floor"):
        Gaussian((3,), std=1e-3, floor=1e-2)


def test_levels_know_what_is_on_them() -> None:
    support = Categorical((1,)).support
    assert support.check(torch.arange(256) / 255).all()
    assert not support.check(torch.tensor([0.5001, -0.1, 1.1, 257 / 255])).any()
    assert str(support) == "256 levels from 0 to 1"
