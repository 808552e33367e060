"""Beta and Student's t: what torch says where that is exact, and stable beyond."""

import math

import pytest
import torch
from torch.distributions import Beta as TheirBeta
from torch.distributions import Normal, StudentT
from vaekit_likelihoods import Beta, Student
from vaekit_likelihoods.stirling import rest

import vaekit
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks([Student, Beta])
def test_conformance(check) -> None:
    check()


OTHERWISE = [
    (Student, {"scale": "predicted", "freedom": "predicted"}),
    (Student, {"scale": "pixel", "freedom": "fixed", "degrees": 3.0}),
    (Beta, {"concentration": "predicted", "margin": 0.01}),
    (Beta, {"concentration": "fixed", "initial": 20.0}),
]


@parametrize_with_checks(OTHERWISE, without=["imports-cleanly", "compiles"])
def test_conformance_in_other_ways(check) -> None:
    check()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rest_is_what_stirling_leaves_out(dtype: torch.dtype) -> None:
    z = torch.cat([torch.logspace(-6, 4, 200), torch.tensor([7.999, 8.0, 8.001])]).double()
    exact = torch.lgamma(z) - (z - 0.5) * z.log() + z - 0.5 * math.log(2 * math.pi)
    got = rest(z.to(dtype), z.log().to(dtype))
    torch.testing.assert_close(got.double(), exact, rtol=1e-5, atol=5e-6 if dtype == torch.float32 else 1e-9)


def test_student_is_that_of_torch() -> None:
    part = Student((4,), scale="predicted", freedom="predicted").double()
    p = part(torch.randn(50, 12).double())
    x = 5 * torch.randn(50, 4).double()
    theirs = StudentT(p.degrees, p.loc, p.scale).log_prob(x).sum(1)
    torch.testing.assert_close(p.log_prob(x), theirs)


@pytest.mark.parametrize("degrees", [1e4, 1e6])
def test_student_with_many_degrees_is_normal_in_float32_too(degrees: float) -> None:
    p = Student((1,), scale="fixed", freedom="fixed", degrees=degrees)(torch.zeros(41, 1))
    x = torch.linspace(-4, 4, 41)[:, None]
    torch.testing.assert_close(p.log_prob(x), Normal(0.0, 1.0).log_prob(x)[:, 0], rtol=0, atol=80 / degrees + 1e-4)


def test_student_forgives_outliers() -> None:
    """The gradient of the location falls with the distance; a Gaussian's grows."""
    theta = torch.zeros(3, 1, requires_grad=True)
    Student((1,))(theta).log_prob(torch.tensor([[2.0], [20.0], [2e4]])).sum().backward()
    near, far, farther = theta.grad[:, 0].tolist()
    assert near > far > farther > 0


def test_beta_is_that_of_torch() -> None:
    part = Beta((4,), concentration="predicted", initial=5.0).double()
    p = part(2 * torch.randn(50, 8).double())
    x = torch.rand(50, 4).double().clamp(1e-6, 1 - 1e-6)
    mean = p.logits.sigmoid()
    theirs = TheirBeta(mean * p.concentration, (1 - mean) * p.concentration)
    torch.testing.assert_close(p.log_prob(x), theirs.log_prob(x).sum(1))
    torch.testing.assert_close(p.mean, theirs.mean)


@pytest.mark.parametrize("concentration", [1e3, 1e6])
def test_beta_of_a_large_concentration_is_right_in_float32(concentration: float) -> None:
    mean = torch.tensor([[0.02], [0.5], [0.9]]).double()
    part = Beta((1,), concentration="fixed", initial=concentration)
    std = (mean * (1 - mean) / concentration).sqrt()
    for away in (-2.0, 0.0, 2.0):
        x = (mean + away * std).float()
        logits = torch.logit(mean).float()
        exact = TheirBeta(logits.double().sigmoid() * concentration, (-logits.double()).sigmoid() * concentration)
        want = exact.log_prob(x.double())[:, 0]
        torch.testing.assert_close(part(logits).log_prob(x).double(), want, rtol=0, atol=0.02 + concentration * 2e-7)


@pytest.mark.parametrize("margin", [0.002, 0.1])
def test_a_margin_takes_the_ends_in_and_keeps_the_density_normalised(margin: float) -> None:
    part = Beta((1,), concentration="fixed", initial=3.0, margin=margin).double()
    n = 200_000
    x = -margin + (1 + 2 * margin) * (torch.arange(n).double() + 0.5) / n
    for logit in (-1.0, 0.0, 0.6):
        p = part(torch.full((1, 1), logit).double())
        density = p.log_prob(x[:, None, None]).exp()
        assert density.mean().item() * (1 + 2 * margin) == pytest.approx(1, abs=2e-3)
        ends = p.log_prob(torch.tensor([0.0, 1.0]).double()[:, None, None])
        assert ends.isfinite().all()
        mean = (density[:, 0] * x).mean() * (1 + 2 * margin)
        assert p.mean.item() == pytest.approx(mean.item(), abs=2e-3)
    assert part.support.check(torch.tensor([0.0, 1.0])).all()


def test_without_a_margin_the_ends_are_refused() -> None:
    part = Beta((2,))
    assert not part.support.check(torch.tensor([0.0, 1.0, -0.1])).any()
    assert part.support.check(torch.tensor([1e-6, 0.5, 1 - 1e-6])).all()
    assert "margin" in str(part.support)
    theta = torch.zeros(2, 2, requires_grad=True)
    log_p = part(theta).log_prob(torch.tensor([[0.0, 0.5], [0.3, 0.5]]))
    assert log_p[0] == -math.inf
    assert log_p[1].isfinite()
    data = torch.rand(50, 2)
    data[7, 1] = 0
    with pytest.raises(vaekit.DataError, match=r"outside the support of likelihood 'beta'.*margin"):
        vaekit.fit(data, likelihood="beta", epochs=1)


@pytest.mark.parametrize(
    "part",
    [
        Student((4,), scale="predicted", freedom="predicted"),
        Beta((4,), concentration="predicted"),
        Beta((4,), concentration="predicted", margin=0.01),
    ],
)
@pytest.mark.parametrize("at", [-1e4, -80.0, 0.0, 80.0, 1e4])
def test_extreme_parameters_give_finite_values_and_gradients(part: vaekit.Likelihood, at: float) -> None:
    theta = torch.full((1, *part.in_shape), at).requires_grad_()
    x = torch.tensor([[1e-6, 0.3, 0.5, 1 - 1e-6]])
    log_p = part(theta).log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert theta.grad.isfinite().all()
    assert part.support.check(part(theta).sample((100,))).all()
