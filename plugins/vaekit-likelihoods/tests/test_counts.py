"""Counts: Poisson and negative binomial are what torch and scipy say, where these are exact, and stable beyond."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from vaekit_likelihoods import NegativeBinomial, Poisson

import vaekit
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        Poisson,
        NegativeBinomial,
        (NegativeBinomial, {"dispersion": "predicted"}),
        (NegativeBinomial, {"dispersion": "fixed", "initial": 3.0}),
    ]
)
def test_conformance(check) -> None:
    check()


MEANS = torch.tensor([1e-6, 0.01, 0.7, 1.0, 3.0, 50.0, 1e3, 1e6, 1e8]).double()


def _counts(mean: Tensor) -> Tensor:
    """Counts from 0 to far beyond each mean, (counts, means)."""
    near = mean + mean.sqrt() * torch.linspace(-5, 5, 21).double()[:, None]
    far = torch.tensor([0.0, 1, 2, 7, 8, 9, 100, 1e4, 1e6]).double()[:, None].expand(-1, len(mean))
    return torch.cat([near.round().clamp(min=0), far])


def test_poisson_is_that_of_scipy_at_every_rate() -> None:
    x = _counts(MEANS)
    want = torch.from_numpy(stats.poisson.logpmf(x.numpy(), MEANS.numpy())).sum(1)
    terms = Poisson((9,))(MEANS.log()[None].expand(len(x), -1)).log_terms(x)
    torch.testing.assert_close(terms.sum(1), want, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("r", [1e-3, 0.3, 1.0, 20.0, 1e3, 1e6])
def test_the_negative_binomial_is_that_of_scipy(r: float) -> None:
    x = _counts(MEANS)
    part = NegativeBinomial((9,), dispersion="fixed", initial=r)
    terms = part(MEANS.log()[None].expand(len(x), -1)).log_terms(x)
    want = torch.lgamma(x + r) - math.lgamma(r) - torch.lgamma(x + 1) + r * torch.log(r / (r + MEANS))
    want = want + x * torch.log(MEANS / (r + MEANS))
    torch.testing.assert_close(terms, want, rtol=1e-6, atol=1e-4)
    if r == 1e6:
        return  # here scipy's probability of success rounds to one
    few = x <= 100
    theirs = torch.from_numpy(stats.nbinom.logpmf(x.numpy(), r, (r / (r + MEANS)).numpy()))
    torch.testing.assert_close(terms[few], theirs[few], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("mean", [1e3, 1e5, 1e7])
def test_float32_is_enough_for_large_counts(mean: float) -> None:
    """The textbook formula in float32 is off by nats here."""
    x = torch.round(mean + math.sqrt(mean) * torch.linspace(-3, 3, 13))[:, None]
    theta = torch.full((13, 1), math.log(mean))
    for part in (Poisson((1,)), NegativeBinomial((1,), dispersion="fixed", initial=1e6)):
        got = part(theta).log_prob(x)
        torch.testing.assert_close(got.double(), part.double()(theta.double()).log_prob(x.double()), rtol=1e-3, atol=1e-2)
    textbook = x * theta - theta.exp() - torch.lgamma(x + 1)
    assert mean < 1e6 or (textbook[:, 0] - Poisson((1,))(theta).log_prob(x)).abs().max() > 0.5


def test_a_large_inverse_dispersion_is_poisson() -> None:
    theta, x = torch.randn(50, 4).double(), torch.randint(20, (50, 4)).double()
    many = NegativeBinomial((4,), dispersion="fixed", initial=1e6)(theta)
    torch.testing.assert_close(many.log_prob(x), Poisson((4,))(theta).log_prob(x), rtol=0, atol=1e-2)


def test_the_variance_grows_with_the_square_of_the_mean() -> None:
    p = NegativeBinomial((1,), dispersion="fixed", initial=2.0)(torch.full((1, 1), math.log(6.0)))
    draws = p.sample((40_000,))
    assert draws.mean().item() == pytest.approx(6, rel=0.03)
    assert draws.var().item() == pytest.approx(6 + 36 / 2, rel=0.06)


@pytest.mark.parametrize("part", [Poisson((4,)), NegativeBinomial((4,)), NegativeBinomial((4,), dispersion="predicted")])
@pytest.mark.parametrize("at", [-1e4, -100.0, -30.0, 0.0, 29.0, 100.0, 1e4])
def test_extreme_parameters_give_finite_values_and_gradients(part: vaekit.Likelihood, at: float) -> None:
    theta = torch.full((1, *part.in_shape), at).requires_grad_()
    x = torch.tensor([[0.0, 1.0, 1e3, 1e6]])
    log_p = part(theta).log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert theta.grad.isfinite().all()
    assert part(theta).mean.isfinite().all()
    assert part.support.check(part(theta).sample()).all()


def test_the_gradient_of_the_log_rate_is_the_residual() -> None:
    theta = torch.tensor([[-3.0, 0.0, 2.0, 8.0]], requires_grad=True)
    x = torch.tensor([[0.0, 1.0, 30.0, 3000.0]])
    Poisson((4,))(theta).log_prob(x).sum().backward()
    torch.testing.assert_close(theta.grad, x - theta.detach().exp(), rtol=1e-4, atol=1e-4)


def test_support_is_counts() -> None:
    assert Poisson((1,)).support.check(torch.tensor([0.0, 1.0, 1e6])).all()
    assert not NegativeBinomial((1,)).support.check(torch.tensor([-1.0, 0.5, 1 / 255])).any()
