"""Traces, against the one family of models whose log-likelihood is known: linear ones with Gaussian noise."""

import math
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import vaekit
from vaekit import distributions
from vaekit.builtin.normal import StandardNormal
from vaekit.builtin.unconditional import Unconditional

DATA, LATENT, NOISE = 6, 2, 0.5


class Identity(vaekit.Encoder):
    """h is x."""

    name: ClassVar = "identity"

    def __init__(self, in_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.out_shape = in_shape

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return x


class Linear(vaekit.Latent):
    """The exact posterior of the linear model, or its best factorised approximation."""

    name: ClassVar = "linear"

    def __init__(self, in_shape: vaekit.Shape, context: int, w: Tensor, exact: bool) -> None:
        super().__init__()
        precision = torch.eye(LATENT) + w.T @ w / NOISE**2
        self.gain = torch.linalg.solve(precision, w.T) / NOISE**2
        covariance = torch.linalg.inv(precision) if exact else torch.diag(1 / precision.diagonal())
        self.tril = torch.linalg.cholesky(covariance)
        self.exact = exact
        self.root = vaekit.Space((LATENT,))
        self.out_shape = (LATENT,)

    def posterior(self, h: Tensor, c: Tensor) -> torch.distributions.Distribution:
        loc = h @ self.gain.T
        if self.exact:
            return distributions.multivariate_normal(loc, self.tril.expand(len(h), LATENT, LATENT))
        return distributions.normal(loc, self.tril.diagonal().expand_as(loc))

    def forward(self, h: Tensor, c: Tensor, prior: torch.distributions.Distribution, samples: int) -> vaekit.Draw:
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return vaekit.Draw(z, (vaekit.Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return h @ self.gain.T


class Times(vaekit.Decoder):
    """θ is Wz."""

    name: ClassVar = "times"

    def __init__(self, in_shape: vaekit.Shape, out_shape: vaekit.Shape, context: int, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return z @ self.w.T


class Noise(vaekit.Likelihood):
    """A Gaussian of known variance."""

    name: ClassVar = "noise"
    support = torch.distributions.constraints.real
    base_measure = "lebesgue"

    def __init__(self, data_shape: vaekit.Shape) -> None:
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta: Tensor) -> torch.distributions.Distribution:
        return distributions.normal(theta, torch.full_like(theta, NOISE))


def linear_gaussian(exact: bool) -> tuple[vaekit.VAE, Tensor, Tensor]:
    """The model, some of its own data, and their exact log p(x)."""
    torch.manual_seed(3)
    w = torch.randn(DATA, 1) + 0.4 * torch.randn(DATA, LATENT)  # columns alike, so that the posterior is correlated
    latent = Linear((DATA,), 0, w, exact)
    model = vaekit.VAE(
        context=Unconditional(),
        encoder=Identity((DATA,), 0),
        latent=latent,
        prior=StandardNormal(latent.root, (DATA,), 0),
        decoder=Times((LATENT,), (DATA,), 0, w),
        likelihood=Noise((DATA,)),
    ).double()
    latent.tril, latent.gain = latent.tril.double(), latent.gain.double()
    px = MultivariateNormal(torch.zeros(DATA).double(), (w @ w.T + NOISE**2 * torch.eye(DATA)).double())
    x = px.sample((256,))
    return model, x, px.log_prob(x)


def test_at_the_exact_posterior_every_weight_is_the_likelihood() -> None:
    model, x, exact = linear_gaussian(exact=True)
    trace = model(x, x.new_zeros(len(x), 0), 7)
    torch.testing.assert_close(trace.log_weight(), exact.expand(7, -1), atol=1e-4, rtol=0)
    torch.testing.assert_close(model.log_likelihood(x, k=3), exact, atol=1e-4, rtol=0)


def test_the_bounds_stand_in_order_and_tighten() -> None:
    model, x, exact = linear_gaussian(exact=False)
    elbo = model(x, x.new_zeros(len(x), 0), 1000).elbo().mean().item()
    tight = [model.log_likelihood(x, k=k, seed=0).mean().item() for k in (5, 50, 2000)]
    assert elbo + 0.1 < tight[0] < tight[1] + 0.02
    assert tight[1] < tight[2] + 0.02
    assert tight[2] == pytest.approx(exact.mean().item(), abs=0.02)


def test_one_importance_sample_is_the_elbo_in_expectation() -> None:
    model, x, _ = linear_gaussian(exact=False)
    trace = model(x, x.new_zeros(len(x), 0), 4000)
    one = trace.log_weight()
    error = one.mean(1).std() / math.sqrt(4000)
    assert abs(one.mean() - trace.elbo().mean()) < 4 * error


def test_the_analytic_kl_agrees_with_the_draws() -> None:
    for exact in (True, False):
        model, x, _ = linear_gaussian(exact)
        (site,) = model(x, x.new_zeros(len(x), 0), 20_000).draw.sites
        ratio = -site.log_ratio()
        error = ratio.std(0) / math.sqrt(len(ratio))
        assert ((site.kl() - ratio.mean(0)).abs() < 4.5 * error).all()


def test_without_a_closed_form_the_kl_is_a_mean_over_draws_and_says_so(make) -> None:
    q = distributions.normal(torch.zeros(2, 3), torch.ones(2, 3))
    site = vaekit.Site(q, distributions.laplace(torch.zeros(2, 3), torch.ones(2, 3)), q.rsample((5,)))
    assert not site.closed
    torch.testing.assert_close(site.kl(), -site.log_ratio().mean(0))
    assert site.kl_dims() is None


def test_shapes_of_a_trace(make) -> None:
    model = make()
    trace = model(torch.rand(4, 1, 6, 5), torch.zeros(4, 0), 3)
    assert trace.draw.z.shape == (3, 4, 2)
    assert trace.log_px().shape == trace.log_weight().shape == (3, 4)
    assert trace.kl().shape == trace.elbo().shape == (4,)
    (site,) = trace.draw.sites
    dims = site.kl_dims()
    assert dims is not None
    torch.testing.assert_close(dims.sum(-1), trace.kl())


def test_samples_are_matched_with_their_own_examples(make) -> None:
    model = make()
    x = torch.rand(4, 1, 6, 5)
    trace = model(x, torch.zeros(4, 0), 3)
    c = torch.zeros(1, 0)
    by_hand = [model.px(trace.draw.z[s, n][None], c).log_prob(x[n][None]) for s in range(3) for n in range(4)]
    torch.testing.assert_close(trace.log_px(), torch.cat(by_hand).reshape(3, 4))


@pytest.mark.parametrize("samples", [1, 3])
def test_under_autocast_densities_are_those_of_the_same_parameters_in_float32(make, samples: int) -> None:
    model = make((1, 28, 28), encoder={"hidden": [32]}, latent={"features": 8})
    x, c = (torch.rand(16, 1, 28, 28) > 0.5).float(), torch.zeros(16, 0)
    with torch.autocast("cpu", torch.bfloat16):
        trace = model(x, c, samples)
        theta = model.decoder(trace.draw.z.flatten(0, 1), c.repeat(samples, 1))
        assert theta.dtype == torch.bfloat16
        log_px, kl = trace.log_px(), trace.kl()
    want = distributions.bernoulli(theta.float()).log_prob(x.repeat(samples, 1, 1, 1)).reshape(samples, 16)
    assert log_px.dtype == kl.dtype == torch.float32
    assert torch.equal(log_px, want)
    (site,) = trace.draw.sites
    assert torch.equal(kl, distributions.kl(site.q, site.p))


def test_full_covariances_under_autocast_are_scored_in_full_precision() -> None:
    q = distributions.multivariate_normal(torch.randn(3, 8), torch.eye(8).expand(3, 8, 8) * 0.3)
    site = vaekit.Site(q, distributions.normal(torch.zeros(3, 8), torch.ones(3, 8)), q.sample((5,)))
    want = site.log_ratio()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(site.log_ratio(), want)
