"""The likelihoods keep every promise of their interface, and the formulas hold where they are delicate."""

import math
from typing import Any

import pytest
import torch
from torch.distributions import ContinuousBernoulli as Theirs
from vaekit_likelihoods import Categorical, ContinuousBernoulli, DiscretizedLogistic, Gaussian, Laplace
from vaekit_likelihoods.continuous_bernoulli import log_normaliser

import vaekit
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks(
    [
        Gaussian,
        Laplace,
        ContinuousBernoulli,
        DiscretizedLogistic,
        (Categorical, {"levels": 7}),
        (Gaussian, {"variance": "optimal"}),
    ]
)
def test_conformance(check) -> None:
    check()


OTHERWISE: list[tuple[type[vaekit.Likelihood], dict[str, Any]]] = [
    (Gaussian, {"variance": "predicted"}),
    (Gaussian, {"variance": "pixel"}),
    (Laplace, {"scale": "fixed"}),
    (Laplace, {"scale": "pixel"}),
    (Categorical, {}),
    (DiscretizedLogistic, {"levels": 5, "scale": "predicted", "initial": 0.3}),
]


@parametrize_with_checks(OTHERWISE, without=["imports-cleanly", "compiles"])
def test_conformance_in_other_ways(check) -> None:
    check()


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


def test_the_continuous_bernoullis_mean_has_the_variance_as_its_slope() -> None:
    """Losses that look at means differentiate them; at logits of -100 exponentials overflow."""
    logits = torch.tensor([[-1e4, -100.0, -3.0, 0.05, 3.0, 100.0, 1e4]], requires_grad=True)
    ContinuousBernoulli((7,))(logits).mean.sum().backward()
    x = (torch.arange(100_000).double() + 0.5) / 100_000
    weight = torch.softmax(logits.detach()[0].double()[:, None] * x, 1)
    variance = (weight * x**2).sum(1) - (weight * x).sum(1) ** 2
    torch.testing.assert_close(logits.grad[0].double(), variance, rtol=1e-2, atol=1e-6)


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

    def test_padding_has_no_part_in_it(self) -> None:
        part, theta, x = self.part(), torch.zeros(5, 3, 4), 0.1 * torch.randn(5, 3, 4)
        alone = part(theta[:, :2]).log_prob(x[:, :2])
        x[:, 2] = torch.nan
        torch.testing.assert_close(part(theta).log_prob(x), alone)
        torch.testing.assert_close(part.mean_square.sqrt(), x[:, :2].square().mean().sqrt())

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
