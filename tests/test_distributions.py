"""Densities and divergences, against Monte Carlo and against torch's own."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vaekit import distributions


def _tril(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, d).tril(-1) * 0.5 + torch.diag_embed(torch.rand(n, d) + 0.5)


def _pairs() -> dict[str, tuple[torch.distributions.Distribution, torch.distributions.Distribution]]:
    torch.manual_seed(1)
    diagonal = [distributions.normal(torch.randn(3, 4), torch.rand(3, 4) + 0.3) for _ in range(2)]
    full = [distributions.multivariate_normal(torch.randn(3, 4), _tril(3, 4)) for _ in range(2)]
    return {
        "diagonal-diagonal": (diagonal[0], diagonal[1]),
        "full-full": (full[0], full[1]),
        "full-diagonal": (full[0], diagonal[0]),
        "diagonal-full": (diagonal[0], full[0]),
    }


@pytest.mark.parametrize("name", ["diagonal-diagonal", "full-full", "full-diagonal", "diagonal-full"])
def test_kl_agrees_with_monte_carlo(name: str) -> None:
    q, p = _pairs()[name]
    z = q.sample((200_000,))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((distributions.kl(q, p) - ratio.mean(0)).abs() < 4 * error).all()


def test_kl_agrees_with_torch() -> None:
    q, p = _pairs()["full-full"]
    torch.testing.assert_close(distributions.kl(q, p), kl_divergence(q, p))
    q, p = _pairs()["diagonal-diagonal"]
    torch.testing.assert_close(distributions.kl(q, p), kl_divergence(q, p))


def test_kl_of_a_distribution_with_itself_is_nothing() -> None:
    for q, _ in _pairs().values():
        torch.testing.assert_close(distributions.kl(q, q), torch.zeros(3), atol=1e-5, rtol=0)


def test_kl_dims_sums_to_kl_and_is_none_where_dimensions_are_tied() -> None:
    q, p = _pairs()["diagonal-diagonal"]
    dims = distributions.kl_dims(q, p)
    assert dims is not None
    assert dims.shape == (3, 4)
    torch.testing.assert_close(dims.sum(-1), distributions.kl(q, p))
    assert distributions.kl_dims(*_pairs()["full-diagonal"]) is None


def test_no_closed_form_is_said_not_guessed() -> None:
    q = distributions.normal(torch.zeros(2, 3), torch.ones(2, 3))
    assert not distributions.has_kl(q, distributions.laplace(torch.zeros(2, 3), torch.ones(2, 3)))
    assert not distributions.has_kl(q, distributions.normal(torch.zeros(2, 3, 1), torch.ones(2, 3, 1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_parameters_are_scored_in_float32(dtype: torch.dtype) -> None:
    loc, scale, x = torch.randn(2, 784).to(dtype), torch.rand(2, 784).to(dtype) + 0.5, torch.rand(2, 784)
    got = distributions.normal(loc, scale).log_prob(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, Normal(loc.float(), scale.float()).log_prob(x).sum(-1))
    bits = (x > 0.5).float()
    torch.testing.assert_close(
        distributions.bernoulli(loc).log_prob(bits), distributions.bernoulli(loc.float()).log_prob(bits), rtol=0, atol=0
    )


def test_float64_stays_float64() -> None:
    loc = torch.zeros(2, 3, dtype=torch.float64)
    assert distributions.normal(loc, loc + 1).log_prob(loc).dtype == torch.float64


def test_events_are_everything_but_the_first_axis() -> None:
    q = distributions.normal(torch.zeros(5, 2, 3), torch.ones(5, 2, 3))
    assert (q.batch_shape, q.event_shape) == ((5,), (2, 3))
    torch.testing.assert_close(q.log_prob(torch.zeros(5, 2, 3)), torch.full((5,), -3 * math.log(2 * math.pi)))


def test_a_point_mass_has_all_probability_on_its_value() -> None:
    value = torch.arange(6).reshape(2, 3)
    q = distributions.PointMass(value)
    assert torch.equal(q.rsample((4,)), value.expand(4, 2, 3))
    assert q.log_prob(value).tolist() == [0, 0]
    assert q.log_prob(torch.stack([value, value + torch.tensor([0, 1, 0])])).tolist() == [[0, 0], [-math.inf, -math.inf]]


def test_tempering_scales_the_standard_deviation_and_refuses_what_is_not_gaussian() -> None:
    p = distributions.tempered(distributions.normal(torch.ones(1, 2), torch.full((1, 2), 2.0)), 0.5)
    assert p is not None
    torch.testing.assert_close(p.stddev, torch.ones(1, 2))
    full = distributions.tempered(MultivariateNormal(torch.zeros(1, 2), torch.eye(2)[None]), 3.0)
    assert full is not None
    torch.testing.assert_close(full.variance, torch.full((1, 2), 9.0))
    assert distributions.tempered(distributions.laplace(torch.zeros(1, 2), torch.ones(1, 2)), 1.0) is None


def test_kl_compiles_full_graph_in_a_fresh_process(python) -> None:
    code = """
import torch
from vaekit import distributions as d

def f(a, b, tril):
    n, m = d.normal(a, b.exp()), d.multivariate_normal(a, tril)
    return d.kl(n, d.normal(b, torch.ones_like(b))), d.kl(m, n), d.kl(n, m), d.kl(m, m), d.bernoulli(a).log_prob(b)

a, b = torch.randn(3, 4), torch.randn(3, 4)
tril = torch.eye(4).expand(3, 4, 4) * 0.7
compiled = torch.compile(f, fullgraph=True, dynamic=False, backend="aot_eager")
for x, y in zip(f(a, b, tril), compiled(a, b, tril)):
    torch.testing.assert_close(x, y)
print("compiled")
"""
    assert python(code) == "compiled"
