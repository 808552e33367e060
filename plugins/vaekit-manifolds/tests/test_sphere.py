"""The von Mises-Fisher distribution against scipy, integrals, its moments and finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy.special import ive
from vaekit_manifolds import Hyperspherical, Uniform
from vaekit_manifolds.angles import angles
from vaekit_manifolds.bessel import log_bessel
from vaekit_manifolds.sphere import UniformOnSphere, VonMisesFisher

import vaekit
from vaekit import distributions

KAPPAS = [0.01, 0.5, 1.0, 3.0, 10.0, 40.0, 300.0, 1e4, 1e5]


def _vmf(features: int, kappas: list[float], dtype: torch.dtype = torch.float64) -> VonMisesFisher:
    loc = F.normalize(torch.randn(len(kappas), features, dtype=dtype), dim=-1).requires_grad_()
    return VonMisesFisher(loc, torch.tensor(kappas, dtype=dtype, requires_grad=True))


def _uniform(q: VonMisesFisher) -> UniformOnSphere:
    return UniformOnSphere(q.loc.detach())


def _resultant(features: int, kappa: float) -> float:
    """E μᵀz; to the first order in κ where scipy's Bessel functions are 0."""
    if ive(features / 2 - 1, kappa) < 1e-290:
        return kappa / features
    return float(ive(features / 2, kappa) / ive(features / 2 - 1, kappa))


@pytest.mark.parametrize("order", [0, 0.5, 1, 2.5, 7, 11.5, 12, 24, 99, 127.5, 300])
def test_log_bessel_is_that_of_scipy(order: float) -> None:
    kappas = [kappa for kappa in [*KAPPAS, 1e6] if ive(order, kappa) > 1e-290]
    kappa = torch.tensor(kappas, dtype=torch.float64)
    wanted = torch.tensor([order * math.log(k) - math.log(ive(order, k)) for k in kappas], dtype=torch.float64)
    b = torch.tensor([k * (ive(order, k) - ive(order + 1, k)) / ive(order, k) for k in kappas], dtype=torch.float64)
    found = log_bessel(kappa, order)
    torch.testing.assert_close(found[0], wanted, rtol=1e-8, atol=2e-9)
    torch.testing.assert_close(found[1], b, rtol=1e-7, atol=1e-9)
    single = log_bessel(kappa.float(), order)
    torch.testing.assert_close(single[0].double(), wanted, rtol=2e-6, atol=1e-5)
    torch.testing.assert_close(single[1].double(), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [0, 3.5, 40])
def test_log_bessel_has_its_derivatives(order: float) -> None:
    kappa = torch.tensor([0.3, 2.0, 40.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: log_bessel(k, order), kappa)
    assert torch.autograd.gradgradcheck(lambda k: log_bessel(k, order), kappa)


def test_where_scipy_underflows_the_small_argument_limit_holds() -> None:
    kappa = torch.tensor([1e-2, 1.0], dtype=torch.float64)
    q = VonMisesFisher(F.normalize(torch.randn(2, 2001, dtype=torch.float64), dim=-1), kappa)
    torch.testing.assert_close(distributions.kl(q, _uniform(q)), kappa**2 / 4002, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("kappa", [0.01, 1.5, 30.0, 2000.0])
def test_the_density_integrates_to_one_on_the_circle_and_the_sphere(kappa: float) -> None:
    angle = 2 * math.pi * torch.arange(20_000).double() / 20_000
    circle = torch.stack([angle.cos(), angle.sin()], 1)[:, None]
    assert _vmf(2, [kappa]).log_prob(circle).exp().mean().item() * 2 * math.pi == pytest.approx(1, abs=1e-8)
    q = VonMisesFisher(torch.tensor([[0.0, 0.0, 1.0]]).double(), torch.tensor([kappa]).double())
    height = 1 - 2 * ((torch.arange(100_000).double() + 0.5) / 100_000) ** 4  # crowded about the mean direction
    slope = 8 * ((torch.arange(100_000).double() + 0.5) / 100_000) ** 3
    points = torch.stack([(1 - height**2).sqrt(), torch.zeros_like(height), height], 1)[:, None]
    total = (q.log_prob(points)[:, 0].exp() * slope).mean().item() * 2 * math.pi
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("features", [2, 3, 4, 11, 200])
def test_the_angle_is_the_quantile_and_moves_with_kappa(features: int) -> None:
    kappa = torch.tensor(KAPPAS, dtype=torch.float64)
    u = torch.linspace(0.001, 0.999, 41, dtype=torch.float64).expand(len(KAPPAS), 41)
    theta, slope = angles(u, kappa, features)
    share = torch.arange(40_001).double() / 40_000
    for i, k in enumerate(KAPPAS):
        grid = share * min(math.pi, theta[i].max().item() * 1.5)
        log_f = (
            k * (grid.cos() - 1) + (features - 2) * grid.sin().clamp(min=1e-300).log() if features > 2 else k * (grid.cos() - 1)
        )
        f = (log_f - log_f.max()).exp()
        below = torch.cumulative_trapezoid(f, grid)
        at = (theta[i] / grid[1] - 1).round().long().clamp(0, 39_999)
        torch.testing.assert_close(below[at] / below[-1], u[i], atol=6e-4, rtol=0)
    up, down = angles(u, kappa * (1 + 1e-4), features)[0], angles(u, kappa * (1 - 1e-4), features)[0]
    torch.testing.assert_close(slope * kappa[:, None], (up - down) / 2e-4, rtol=1e-4, atol=2e-6)


def test_the_angle_is_finite_at_the_ends_in_float32_too() -> None:
    u = torch.tensor([[0.0, 1e-9, 0.5, 1 - 2**-24]])
    for features in (2, 3, 50, 5000):
        for kappa in (1e-3, 1.0, 1e3, 1e7):
            for t in angles(u, torch.tensor([kappa]), features):
                assert t.isfinite().all()


@pytest.mark.parametrize("features", [2, 3, 11, 50, 200])
def test_draws_lie_on_the_sphere_with_the_moments_of_the_density(features: int) -> None:
    q, samples = _vmf(features, KAPPAS, torch.float32), 4000
    with torch.no_grad():
        z = q.sample((samples,))
        assert (z.norm(dim=-1) - 1).abs().max() < 1e-5
        fall = ((z - q.loc) ** 2).sum(-1).double() / 2  # 1 - μᵀz
    for i, kappa in enumerate(KAPPAS):
        a = _resultant(features, kappa)
        variance = 1 - a**2 - (features - 1) / kappa * a
        mean = fall[:, i].mean().item()
        assert mean == pytest.approx(1 - a, abs=5 * fall[:, i].std().item() / math.sqrt(samples))
        if variance > 1e-7:
            assert fall[:, i].var().item() == pytest.approx(variance, rel=0.25)
    torch.testing.assert_close(q.mean.norm(dim=-1).double(), torch.tensor([_resultant(features, k) for k in KAPPAS]).double())
    across = z - (z * q.loc).sum(-1, keepdim=True) * q.loc
    lengths = across.norm(dim=-1, keepdim=True)
    mean_across = (across / lengths).mean(0).norm(dim=-1)
    assert (mean_across < 1 / math.sqrt(samples) * (1 + 5 / math.sqrt(features))).all()


@pytest.mark.parametrize("features", [2, 3, 11, 50, 200])
def test_the_closed_kl_is_that_of_the_draws_and_of_quadrature(features: int) -> None:
    q = _vmf(features, KAPPAS)
    p = _uniform(q)
    with torch.no_grad():
        kl = distributions.kl(q, p)
        z = q.sample((1500,))
        gap = q.log_prob(z) - p.log_prob(z)
    assert ((gap.mean(0) - kl).abs() < 5 * gap.std(0) / math.sqrt(1500) + 1e-9).all()
    order = features / 2 - 1
    for found, kappa in zip(kl.tolist(), KAPPAS, strict=True):
        if ive(order, kappa) > 1e-290:
            wanted = (
                kappa * (_resultant(features, kappa) - 1)
                + order * math.log(kappa)
                - math.log(ive(order, kappa))
                - order * math.log(2)
                - math.lgamma(order + 1)
            )
            assert found == pytest.approx(wanted, rel=1e-7, abs=1e-8)
    single = VonMisesFisher(q.loc.float(), q.concentration.float())
    torch.testing.assert_close(distributions.kl(single, _uniform(single)).double(), kl, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_kl_is_kappa_times_the_slope_of_the_resultant() -> None:
    q = _vmf(11, KAPPAS, torch.float32)
    (gradient,) = torch.autograd.grad(distributions.kl(q, _uniform(q)).sum(), q.concentration)
    for found, kappa in zip(gradient.tolist(), KAPPAS, strict=True):
        a = _resultant(11, kappa)
        wanted = kappa * (1 - a * a - 10 * a / kappa) if kappa < 1e4 else 5 / kappa
        assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("features", [2, 3, 50])
def test_gradients_through_draws_are_those_of_the_expectation(features: int) -> None:
    """E of a linear and of a quadratic function have closed forms, through A = E μᵀz and $E (a^T z)^2$."""
    samples = 10_000
    for kappa in (1.0, 5.0, 60.0):
        loc = F.normalize(torch.randn(1, features, dtype=torch.float64), dim=-1).requires_grad_()
        concentration = torch.tensor([kappa], dtype=torch.float64, requires_grad=True)
        weight = F.normalize(torch.randn(features, dtype=torch.float64), dim=-1)
        a = log_bessel(concentration, features / 2 - 1)[1]
        resultant = 1 - a / concentration
        along = F.normalize(loc, dim=-1) @ weight
        spread = resultant / concentration  # E zzᵀ = spread I + (1 - D spread) μμᵀ
        for power, expected in ((1, resultant * along), (2, spread + (1 - features * spread) * along**2)):
            q = VonMisesFisher(F.normalize(loc, dim=-1).expand(samples, -1), concentration.expand(samples))
            wanted = torch.autograd.grad(expected.sum(), (loc, concentration), retain_graph=True)
            mu, k = q.loc.detach().requires_grad_(), q.concentration.detach().requires_grad_()
            values = (VonMisesFisher(mu, k).rsample() @ weight) ** power
            each = torch.autograd.grad(values.sum(), (mu, k))
            across = each[0] - (each[0] * mu).sum(1, keepdim=True) * mu  # as normalising μ does
            for found, analytic in ((across, wanted[0][0]), (each[1][:, None], wanted[1])):
                error = found.std(0) / math.sqrt(samples)
                assert ((found.mean(0) - analytic).abs() < 5 * error + 1e-9).all()


def test_the_uniform_is_uniform() -> None:
    p = UniformOnSphere(torch.zeros(3, 4))
    z = p.sample((8000,))
    assert z.shape == (8000, 3, 4)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(8000, 3))
    assert z.mean(0).abs().max() < 5 * 0.5 / math.sqrt(8000)
    torch.testing.assert_close((z[..., :, None] * z[..., None, :]).mean(0), torch.eye(4).expand(3, 4, 4) / 4, atol=0.02, rtol=0)
    torch.testing.assert_close(p.log_prob(z[0]), torch.full((3,), -math.log(2 * math.pi**2)))


def _model(features: int = 4) -> vaekit.VAE:
    config = vaekit.Config(
        data_shape=(6,),
        encoder={"name": "mlp", "hidden": [16]},
        latent={"name": "hyperspherical", "features": features},
        prior={"name": "uniform"},
        decoder={"name": "mlp", "hidden": [16]},
    )
    return vaekit.build(config)[0]


def test_one_kappa_trains_and_is_evaluated() -> None:
    model, x, c = _model(), 3 * torch.randn(20, 6), torch.zeros(20, 0)
    training, [site] = model.train().posterior(x, c), model(x, c).draw.sites
    evaluated = model.eval().posterior(x, c)
    for q in (site.q, evaluated):
        assert torch.equal(q.concentration, training.concentration)
    head = model.latent.head(model.encoder(x, c))
    torch.testing.assert_close(training.concentration, 1 + F.softplus(head[:, -1]))
    bits = (x > 0).float()
    with torch.no_grad():
        trace = model(bits, c, 4000)
        weights = trace.log_weight()
        error = (weights.std(0) + trace.log_px().std(0)) / math.sqrt(4000)
        assert ((weights.mean(0) - trace.elbo()).abs() < 5 * error).all()
        nll = model.log_likelihood(bits, k=500)
        assert (nll > trace.elbo() - 0.05).all()


def test_codes_are_unit_vectors_without_chance_and_decoded_as_they_are() -> None:
    model, x = _model().train(), torch.rand(20, 6)
    z = model.encode(x)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20))
    assert torch.equal(model.encode(x), z)
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))
    torch.testing.assert_close(model.reconstruct(x), model.decode(z))


def test_paths_between_examples_stay_on_the_sphere() -> None:
    model, seen = _model(), []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model.interpolate(torch.rand(6), torch.rand(6), steps=7)
    torch.testing.assert_close(seen[0].norm(dim=-1), torch.ones(7))


@pytest.mark.parametrize("support", ["real", "ball", "simplex"])
def test_the_uniform_prior_is_refused_off_the_sphere(support: str) -> None:
    with pytest.raises(vaekit.ShapeError, match="a uniform prior lives on the sphere"):
        Uniform(vaekit.Space((3,), support), (4,), 0)


def test_a_point_has_no_sphere_about_it() -> None:
    with pytest.raises(vaekit.ConfigError, match="features"):
        vaekit.build(
            vaekit.Config(data_shape=(6,), latent={"name": "hyperspherical", "features": 1}, prior={"name": "uniform"})
        )
    assert Hyperspherical((4,), 0, features=2).root == vaekit.Space((2,), "sphere")
