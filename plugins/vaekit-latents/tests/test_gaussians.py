"""Points, full covariances and grids, against what is known of them."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence
from vaekit_latents import FullGaussian, GridGaussian, Point

import vaekit
from vaekit import distributions, registry

DATA, LATENT, NOISE = 5, 2, 0.7


def _c(n: int, width: int = 0) -> torch.Tensor:
    return torch.randn(n, width)


def test_without_off_diagonals_it_is_the_diagonal_gaussian() -> None:
    part = FullGaussian((6,), 2, features=4)
    with torch.no_grad():
        part.head.weight[8:] = 0
        part.head.bias[8:] = 0
    h, c = torch.randn(5, 6), _c(5, 2)
    q = part.posterior(h, c)
    diagonal = distributions.normal(q.mean, q.variance.sqrt())
    z = torch.randn(3, 5, 4)
    torch.testing.assert_close(q.log_prob(z), diagonal.log_prob(z))
    p = distributions.standard_normal((5, 4), h)
    torch.testing.assert_close(distributions.kl(q, p), distributions.kl(diagonal, p))


@pytest.mark.parametrize("scale", ["exp", "softplus"])
def test_the_covariance_is_that_of_the_draws_and_the_kl_torchs(scale: str) -> None:
    part = FullGaussian((6,), 2, features=3, scale=scale).double()
    h, c = 2 * torch.randn(2, 6).double(), _c(2, 2).double()
    with torch.no_grad():
        part.head.weight.mul_(2)
        q = part.posterior(h, c)
        draws = part(h, c, distributions.standard_normal((2, 3), h), 50_000).z
    off = q.covariance_matrix[:, 0, 1] / q.variance[:, :2].prod(1).sqrt()
    assert (off.abs() > 0.05).all()
    for i in range(2):
        found, wanted = draws[:, i].T.cov(), q.covariance_matrix[i]
        error = ((wanted**2 + wanted.diagonal()[:, None] * wanted.diagonal()) / 50_000).sqrt()
        assert ((found - wanted).abs() < 5 * error).all()
    standard = MultivariateNormal(torch.zeros(2, 3).double(), torch.eye(3).double().expand(2, 3, 3))
    p = distributions.standard_normal((2, 3), h)
    torch.testing.assert_close(distributions.kl(q, p), kl_divergence(q, standard))


@pytest.mark.parametrize("scale", ["exp", "softplus"])
def test_densities_keep_their_digits_where_deviations_are_tiny(scale: str) -> None:
    part = FullGaussian((6,), 0, features=8, scale=scale)
    with torch.no_grad():
        part.head.bias[8:16] = torch.tensor([0.0, -7, 0, -7, -7, 0, -7, 0]) * (2 if scale == "exp" else 1)
        part.head.bias[16:] = torch.randn(28)
        q = part.posterior(torch.randn(5, 6), _c(5))
        z = q.sample((100,))
        exact = MultivariateNormal(q.mean.double(), scale_tril=q.scale_tril.double())
        torch.testing.assert_close(q.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-3, atol=0.02)
        deviate = torch.linalg.solve_triangular(q.scale_tril.double(), (z - q.mean).double()[..., None], upper=False)
    assert deviate.abs().max() < 6  # so that z, rounded, is still where it was drawn


class Linear:
    """$x = W z + 0.7 \\varepsilon$ in float64, whose posterior is correlated, and the ELBO without draws."""

    def __init__(self) -> None:
        self.w = (torch.randn(DATA, 1) + torch.randn(DATA, LATENT)).double()
        self.x = torch.randn(20, DATA).double() @ torch.linalg.cholesky(self.marginal.covariance_matrix).T
        self.precision = torch.eye(LATENT).double() + self.w.T @ self.w / NOISE**2

    @property
    def marginal(self) -> MultivariateNormal:
        return MultivariateNormal(torch.zeros(DATA).double(), self.w @ self.w.T + NOISE**2 * torch.eye(DATA).double())

    def best(self, part: vaekit.Latent) -> float:
        """The largest mean ELBO over the parameters of a latent, whose posterior is Gaussian with a mean linear in x."""
        part = part.double()
        c = self.x[:, :0]
        optimizer = torch.optim.LBFGS(part.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def loss() -> torch.Tensor:
            q = part.posterior(self.x, c)
            scale = q.scale_tril if isinstance(q, MultivariateNormal) else torch.diag_embed(q.variance.sqrt())
            error = ((self.x - q.mean @ self.w.T) ** 2).sum(1) + ((self.w @ scale) ** 2).sum((1, 2))
            log_px = -error / (2 * NOISE**2) - DATA / 2 * math.log(2 * math.pi * NOISE**2)
            return (distributions.kl(q, distributions.standard_normal((20, LATENT), c)) - log_px).mean()

        def step() -> torch.Tensor:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            return value

        optimizer.step(step)
        return -loss().item()


def test_it_finds_a_correlated_posterior_which_a_diagonal_cannot() -> None:
    model = Linear()
    log_p = model.marginal.log_prob(model.x).mean().item()
    gap = 0.5 * (model.precision.diagonal().log().sum() - model.precision.logdet()).item()
    assert gap > 0.05
    diagonal = registry.find("latent", "gaussian")((DATA,), 0, features=LATENT)
    assert model.best(FullGaussian((DATA,), 0, features=LATENT)) == pytest.approx(log_p, abs=1e-3)
    assert model.best(diagonal) == pytest.approx(log_p - gap, abs=1e-3)


def test_autocast_draws_as_finely_as_float32() -> None:
    part = FullGaussian((6,), 0, features=3)
    h, c = torch.randn(4, 6), _c(4)
    prior = distributions.standard_normal((4, 3), h)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        z = part(h, c, prior, 1000).z
        q = part.posterior(h, c)
    assert z.dtype == torch.float32
    noise = torch.linalg.solve_triangular(q.scale_tril, (z - q.mean)[..., None], upper=False)
    assert (noise.bfloat16().float() != noise).float().mean() > 0.9
    assert (noise**2).sum((-2, -1)).mean() == pytest.approx(3, abs=5 * math.sqrt(6 / 4000))


def test_a_point_is_scored_by_the_prior_alone() -> None:
    config = vaekit.Config(data_shape=(DATA,), latent={"name": "point", "features": LATENT})
    model, loss = vaekit.build(config)
    x, c = torch.rand(7, DATA).round(), _c(7)
    trace = model(x, c, 3)
    assert (trace.draw.z == model.latent.code(model.encoder(x, c), c)).all()
    log_p = distributions.standard_normal((7, LATENT), x).log_prob(trace.draw.z[0])
    torch.testing.assert_close(trace.kl(), -log_p)
    torch.testing.assert_close(loss(model, x, c).loss, -(trace.log_px()[0] + log_p).mean())
    with pytest.raises(vaekit.ConfigError, match="latent 'point' has no density"):
        model.log_likelihood(x)


def test_each_place_of_a_grid_is_made_of_its_own_place_and_of_the_context() -> None:
    part = GridGaussian((5, 4, 3), 2, channels=6)
    assert part.out_shape == part.root.shape == (6, 4, 3)
    h, c = torch.randn(2, 5, 4, 3), _c(2, 2)
    other = h.clone()
    other[:, :, 1, 2] += 1
    changed = (part.code(other, c) != part.code(h, c)).any(1)
    assert changed.sum() == 2
    assert changed[:, 1, 2].all()
    assert (part.code(h, c + 1) != part.code(h, c)).all()


def test_the_grid_is_a_gaussian_over_all_of_its_numbers() -> None:
    part = GridGaussian((7,), 0, channels=2, height=3, width=4)
    assert part.out_shape == (2, 3, 4)
    h, c = torch.randn(5, 7), _c(5)
    q = part.posterior(h, c)
    flat = distributions.normal(q.mean.flatten(1), q.variance.sqrt().flatten(1))
    z = torch.randn(5, 2, 3, 4)
    torch.testing.assert_close(q.log_prob(z), flat.log_prob(z.flatten(1)))
    wanted = distributions.kl_dims(flat, distributions.standard_normal((5, 24), h))
    torch.testing.assert_close(distributions.kl_dims(q, distributions.standard_normal((5, 2, 3, 4), h)), wanted)


def test_points_are_the_dense_layer() -> None:
    part = Point((2, 3), 4, features=5)
    h, c = torch.randn(6, 2, 3), _c(6, 4)
    torch.testing.assert_close(part.code(h, c), part.head(torch.cat([h.flatten(1), c], 1)))
