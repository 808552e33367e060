"""Counts: Poisson and negative binomial are what torch and scipy say, where these are exact, and stable beyond."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from vaekit_likelihoods import NegativeBinomial, Poisson

import vaekit
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks([Poisson, NegativeBinomial])
def test_conformance(check) -> None:
    check()


OTHERWISE = [
    (NegativeBinomial, {"dispersion": "predicted"}),
    (NegativeBinomial, {"dispersion": "fixed", "initial": 3.0}),
]


@parametrize_with_checks(OTHERWISE, without=["imports-cleanly", "compiles"])
def test_conformance_in_other_ways(check) -> None:
    check()


@pytest.mark.parametrize("part", [Poisson, NegativeBinomial])
def test_the_encoder_sees_logarithms(part: type[vaekit.Likelihood]) -> None:
    config = vaekit.Config(data_shape=(3,), likelihood={"name": part.name})
    model, _ = vaekit.build(config)
    x = torch.tensor([[0.0, 1.0, 1e6], [2.0, 30.0, 0.0]])
    with torch.no_grad():
        wanted = model.latent.code(model.encoder((1 + x).log(), torch.empty(2, 0)), torch.empty(2, 0))
    torch.testing.assert_close(model.encode(x), wanted)
    assert part((3,)).seen(torch.tensor([-2.0, torch.nan])).isnan().tolist() == [False, True]  # learned inputs, and padding


MEANS = torch.tensor([1e-6, 0.01, 0.7, 1.0, 3.0, 50.0, 1e3, 1e6, 1e8]).double()


def _theta(mean: Tensor) -> Tensor:
    """What the decoder has to say for each mean."""
    return torch.where(mean < math.exp(8), mean.log(), mean / math.exp(8) + 7)


def test_the_mean_is_exponential_and_then_straight_and_never_flat() -> None:
    theta = torch.tensor([[-3.0, 0.0, 7.9, 8.1, 30.0, 1e4]], requires_grad=True)
    for part in (Poisson((6,)), NegativeBinomial((6,))):
        mean = part(theta).mean
        torch.testing.assert_close(_theta(mean), theta)
        (slope,) = torch.autograd.grad(mean.sum(), theta)
        torch.testing.assert_close(slope, theta.detach().clamp(max=8).exp())


@pytest.mark.parametrize("part", [Poisson((1,)), NegativeBinomial((1,))])
def test_a_decoder_that_began_far_too_high_finds_down(part: vaekit.Likelihood) -> None:
    theta = torch.tensor([[60.0]], requires_grad=True)
    optimizer = torch.optim.Rprop([theta], 0.5)
    for _ in range(60):
        optimizer.zero_grad()
        (-part(theta).log_prob(torch.full((1, 1), 20.0))).sum().backward()
        optimizer.step()
    assert part(theta).mean.item() == pytest.approx(20, rel=0.05)


def test_counts_that_are_spread_over_decades_do_not_make_training_explode() -> None:
    rates = torch.exp(3.5 + 1.5 * torch.randn(3, 20))[torch.randint(3, (512,))]
    x = torch.poisson(rates * torch.distributions.Gamma(0.7, 0.7).sample((512, 20)))
    assert x.max() > 1500
    model, loss = vaekit.build(vaekit.Config(data_shape=(20,), likelihood="poisson"))
    list(vaekit.train(model, loss, list(x.split(64)), epochs=12))
    reconstruction = loss(model, x, x[:, :0]).parts["reconstruction"]
    by_means_alone = -Poisson((20,))(_theta(x.mean(0)).expand_as(x)).log_prob(x).mean()
    assert reconstruction < 5 * by_means_alone


def _counts(mean: Tensor) -> Tensor:
    """Counts from 0 to far beyond each mean, (counts, means)."""
    near = mean + mean.sqrt() * torch.linspace(-5, 5, 21).double()[:, None]
    far = torch.tensor([0.0, 1, 2, 7, 8, 9, 100, 1e4, 1e6]).double()[:, None].expand(-1, len(mean))
    return torch.cat([near.round().clamp(min=0), far])


def test_poisson_is_that_of_scipy_at_every_rate() -> None:
    x = _counts(MEANS)
    want = torch.from_numpy(stats.poisson.logpmf(x.numpy(), MEANS.numpy())).sum(1)
    terms = Poisson((9,))(_theta(MEANS)[None].expand(len(x), -1)).log_terms(x)
    torch.testing.assert_close(terms.sum(1), want, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("r", [1e-3, 0.3, 1.0, 20.0, 1e3, 1e6])
def test_the_negative_binomial_is_that_of_scipy(r: float) -> None:
    x = _counts(MEANS)
    part = NegativeBinomial((9,), dispersion="fixed", initial=r)
    terms = part(_theta(MEANS)[None].expand(len(x), -1)).log_terms(x)
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
    theta = _theta(torch.full((13, 1), mean))
    for part in (Poisson((1,)), NegativeBinomial((1,), dispersion="fixed", initial=1e6)):
        got = part(theta).log_prob(x)
        torch.testing.assert_close(got.double(), part.double()(theta.double()).log_prob(x.double()), rtol=1e-3, atol=1e-2)
    log_mean = torch.full_like(x, mean).log()
    textbook = x * log_mean - log_mean.exp() - torch.lgamma(x + 1)
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
