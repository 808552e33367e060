"""The wrapped normal in the Poincaré ball against integrals, distances and finite differences."""

import math

import pytest
import torch
from scipy.stats import chi2, kstest
from vaekit_manifolds import Poincare, WrappedNormal
from vaekit_manifolds.ball import WrappedNormalInBall, exponential, logarithm

import vaekit


def _distance(a: torch.Tensor, b: torch.Tensor, curvature: float) -> torch.Tensor:
    """The geodesic distance, by the formula with the inverse hyperbolic cosine."""
    gaps = (1 - (a**2).sum(-1)) * (1 - (b**2).sum(-1))
    return (1 + 2 * ((a - b) ** 2).sum(-1) / gaps).acosh() / math.sqrt(curvature)


def _wrapped(features: int, curvature: float = 1.0, far: float = 1.0, n: int = 1) -> WrappedNormalInBall:
    tangent = far * torch.randn(n, features, dtype=torch.float64)
    return WrappedNormalInBall(tangent, 0.3 + torch.rand(n, features, dtype=torch.float64), curvature)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("far", [0.0, 0.5, 1.5])
def test_the_density_integrates_to_one_in_the_disc(curvature: float, far: float) -> None:
    q = WrappedNormalInBall(torch.tensor([[far, -far]]).double(), torch.tensor([[0.4, 0.9]]).double(), curvature)
    rings, rays = 300, 1200
    reach = 14 * math.sqrt(curvature) * (torch.arange(rings).double() + 0.5) / rings
    angle = 2 * math.pi * (torch.arange(rays).double() + 0.5) / rays
    radius = (reach / 2).tanh()
    points = radius[:, None, None] * torch.stack([angle.cos(), angle.sin()], 1)
    area = radius * (1 - radius**2) / 2 * 14 * math.sqrt(curvature) / rings * 2 * math.pi / rays
    inside = radius < 1 - 1e-12
    density = q.log_prob(points.flatten(0, 1)[:, None])[:, 0].exp().reshape(rings, rays)
    assert (density * area[:, None])[inside].sum().item() == pytest.approx(1, abs=1e-3)


def test_in_one_dimension_distances_are_normal() -> None:
    q = WrappedNormalInBall(torch.zeros(1, 1).double(), torch.tensor([[0.7]]).double(), 2.0)
    t = torch.linspace(-3, 3, 31).double()
    z = (t * math.sqrt(2) / 2).tanh()
    slope = math.sqrt(2) / 2 / (t * math.sqrt(2) / 2).cosh() ** 2
    wanted = torch.distributions.Normal(0, 0.7).log_prob(t) - slope.log()
    torch.testing.assert_close(q.log_prob(z[:, None, None])[:, 0], wanted)


@pytest.mark.parametrize("features", [2, 5, 16])
def test_distances_of_draws_from_the_mean_are_those_of_a_normal(features: int) -> None:
    for curvature in (0.3, 1.0, 3.0):
        tangent = torch.randn(1, features, dtype=torch.float64) / features**0.5
        q = WrappedNormalInBall(tangent, torch.full((1, features), 0.8, dtype=torch.float64), curvature)
        z = q.sample((5000,))
        assert (z.norm(dim=-1) < 1).all()
        square = (_distance(z, q.loc, curvature)[:, 0] / 0.8) ** 2
        assert kstest(square.numpy(), chi2(features).cdf).pvalue > 1e-4


@pytest.mark.parametrize("features", [1, 2, 4])
def test_draws_have_the_density(features: int) -> None:
    """E p/q over draws from q is 1 where q has the heavier tails."""
    tangent = torch.tensor([[0.4] * features]).double()
    q = WrappedNormalInBall(tangent, torch.full((1, features), 1.2, dtype=torch.float64), 1.0)
    p = WrappedNormalInBall(0.3 * tangent, torch.linspace(0.5, 0.8, features, dtype=torch.float64)[None], 1.4)
    z = q.sample((50_000,))
    weight = (p.log_prob(z) - q.log_prob(z)).exp()
    assert weight.mean().item() == pytest.approx(1, abs=5 * weight.std().item() / 50_000**0.5)


def test_only_the_scale_times_the_root_of_the_curvature_matters() -> None:
    z = 0.5 * torch.rand(9, 3, dtype=torch.float64)
    tangent, scale = torch.randn(9, 3, dtype=torch.float64), torch.rand(9, 3, dtype=torch.float64) + 0.2
    one, other = WrappedNormalInBall(tangent, scale, 1.0), WrappedNormalInBall(tangent / 2, scale / 2, 4.0)
    torch.testing.assert_close(one.log_prob(z), other.log_prob(z))


def test_with_little_curvature_it_is_a_normal() -> None:
    q = _wrapped(4, curvature=1e-3, far=0.5, n=7)
    v = torch.randn(7, 4, dtype=torch.float64)
    euclidean = torch.distributions.Normal(logarithm(q.loc, 1e-3), q.scale).log_prob(v).sum(-1)
    slope = 4 * math.log(2 / math.sqrt(1e-3))
    torch.testing.assert_close(q.log_prob(v * math.sqrt(1e-3) / 2) - slope, euclidean, atol=0.05, rtol=0.01)


def test_the_maps_are_inverse_and_hold_what_floats_can() -> None:
    v = 3 * torch.randn(50, 6)
    z, gap = exponential(v, 0.7)
    torch.testing.assert_close(logarithm(z, 0.7), v, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(gap[:, 0], 1 - (z.double() ** 2).sum(-1).float(), rtol=0.05, atol=1e-6)
    for far in (1e2, 1e10, 1e18):
        z, gap = exponential(far * v, 1.0)
        assert (z.norm(dim=-1) < 1).all()
        assert (gap > 0).all()
        assert logarithm(z, 1.0).isfinite().all()


@pytest.mark.parametrize("far", [0.0, 1.0, 30.0, 1e6])
def test_everything_is_finite_near_the_boundary_in_float32(far: float) -> None:
    tangent, scale = (far * torch.randn(20, 8)).requires_grad_(), torch.full((20, 8), 3.0, requires_grad=True)
    q = WrappedNormalInBall(tangent, scale, 1.0)
    z = q.rsample((30,))
    assert (z.norm(dim=-1) < 1).all()
    log_ratio = q.log_prob(z) - q.log_prob(q.loc)
    assert log_ratio.isfinite().all()
    for gradient in torch.autograd.grad(log_ratio.sum() + logarithm(z, 1.0).sum(), (tangent, scale)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("features", [1, 2, 6])
def test_float32_is_enough_within_ten_of_the_centre(features: int) -> None:
    tangent = torch.randn(200, features, dtype=torch.float64)
    tangent = tangent / tangent.norm(dim=1, keepdim=True) * torch.linspace(0, 8, 200, dtype=torch.float64)[:, None]
    scale = torch.full_like(tangent, 0.5)
    double, single = WrappedNormalInBall(tangent, scale, 1.0), WrappedNormalInBall(tangent.float(), scale.float(), 1.0)
    z = single.sample()
    torch.testing.assert_close(single.log_prob(z).double(), double.log_prob(z.double()), atol=0.1, rtol=1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    tangent, scale = torch.randn(3, 4, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64) + 0.3
    z = 0.4 * torch.rand(3, 4, dtype=torch.float64)

    def both(tangent: torch.Tensor, scale: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(3)
        q = WrappedNormalInBall(tangent, scale, 1.7)
        return q.log_prob(z), q.rsample((2,)), q.log_prob(q.rsample((2,)))

    assert torch.autograd.gradcheck(both, [t.requires_grad_() for t in (tangent, scale, z)])


def test_at_the_mean_the_density_has_a_finite_gradient() -> None:
    tangent = torch.zeros(2, 3, requires_grad=True)
    q = WrappedNormalInBall(tangent, torch.ones(2, 3), 1.0)
    (gradient,) = torch.autograd.grad(q.log_prob(torch.zeros(2, 3)).sum(), tangent)
    assert torch.equal(gradient, torch.zeros(2, 3))


@pytest.mark.parametrize(("curvature", "chart"), [(1.0, "ball"), (0.25, "ball"), (0.25, "tangent"), (4.0, "tangent")])
def test_the_decoder_sees_the_chart(curvature: float, chart: str) -> None:
    part = Poincare((6,), 0, features=3, curvature=curvature, chart=chart).double()
    h, c = torch.randn(5, 6).double(), torch.zeros(5, 0)
    q = part.posterior(h, c)
    code = part.code(h, c)
    if chart == "tangent":
        torch.testing.assert_close(exponential(code, curvature)[0], q.loc)
        distance = _distance(q.loc, torch.zeros(3), curvature)
        torch.testing.assert_close(code.norm(dim=-1), distance, rtol=1e-4, atol=1e-6)
    else:
        torch.testing.assert_close(code * math.sqrt(curvature), q.loc)
    torch.testing.assert_close(part.generate(q.loc, c), code)


@pytest.mark.parametrize("chart", ["ball", "tangent"])
@pytest.mark.parametrize("curvature", [0.5, 2.0])
def test_paths_are_geodesics_in_even_steps(curvature: float, chart: str) -> None:
    part = Poincare((6,), 0, features=3, curvature=curvature, chart=chart).double()
    a, b = part.code(4 * torch.randn(2, 6).double(), torch.zeros(2, 0))
    path = part.path(a, b, 7)
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]))
    points = exponential(path, curvature)[0] if chart == "tangent" else path * math.sqrt(curvature)
    steps, whole = _distance(points[:-1], points[1:], curvature), _distance(points[0], points[-1], curvature)
    torch.testing.assert_close(steps, whole.expand(6) / 6)  # so that together they are no longer than the shortest way
    torch.testing.assert_close(part.path(a, a, 3), a.expand(3, 3))


def test_codes_and_reconstructions_have_no_chance_in_them() -> None:
    model, _ = vaekit.build(
        vaekit.Config(data_shape=(6,), latent={"name": "poincare", "features": 3}, prior={"name": "wrapped-normal"})
    )
    x = torch.rand(5, 6)
    model.train()
    assert torch.equal(model.encode(x), model.encode(x))
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))
    torch.testing.assert_close(model.reconstruct(x), model.decode(model.encode(x)))


def test_the_prior_learns_its_scale_or_keeps_it() -> None:
    root = vaekit.Space((4,), "ball")
    assert not list(WrappedNormal(root, (6,), 0, scale=0.7).parameters())
    prior = WrappedNormal(root, (6,), 0, scale=0.7, learned=True)
    z = WrappedNormal(root, (6,), 0, scale=0.4)(torch.zeros(1500, 0), lambda x, c: None).sample()
    optimizer = torch.optim.Adam(prior.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        (-prior(torch.zeros(1500, 0), lambda x, c: None).log_prob(z).mean()).backward()
        optimizer.step()
    assert prior.log_scale.exp().item() == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize("support", ["real", "sphere", "simplex"])
def test_the_prior_is_refused_outside_of_the_ball(support: str) -> None:
    with pytest.raises(vaekit.ShapeError, match="a wrapped normal prior lives in the Poincaré ball"):
        WrappedNormal(vaekit.Space((3,), support), (4,), 0)
