"""The losses keep every promise of their interface, and give what can be known without them."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal
from vaekit_losses import IWAE

import vaekit
from vaekit import distributions
from vaekit.testing import parametrize_with_checks

DATA, LATENT, NOISE = 6, 2, 0.7


@parametrize_with_checks([IWAE, (IWAE, {"samples": 1})])
def test_conformance(check) -> None:
    check()


WIDE = "one draw of many has to fit: posteriors become wide, and the code alone reconstructs poorly, though log p(x) is higher"


@parametrize_with_checks([(IWAE, {"samples": 200})], expected_failures={"overfits-eight-points": WIDE})
def test_conformance_with_many_draws(check) -> None:
    check()


class LinearGaussian:
    """$x = Wz + 0.7 \\varepsilon$ in float64, whose posterior and log p(x) are known: a model as far as losses look at it.

    Args:
        n: examples, drawn from the model.
        exact: whether q is the posterior, or the nearest to it that is a product over dimensions.
    """

    def __init__(self, n: int, exact: bool) -> None:
        self.likelihood = SimpleNamespace(exact=True)
        columns = torch.randn(DATA, 1) + torch.randn(DATA, LATENT)  # alike, so that the posterior is correlated
        self.w = columns.double().requires_grad_()
        w = self.w.detach()
        marginal = MultivariateNormal(w.new_zeros(DATA), w @ w.T + NOISE**2 * torch.eye(DATA).double())
        self.x = marginal.sample((n,))
        self.nll = -marginal.log_prob(self.x).mean()
        precision = torch.eye(LATENT).double() + w.T @ w / NOISE**2
        self.loc = (self.x @ torch.linalg.solve(precision, w.T).T / NOISE**2).requires_grad_()
        tril = torch.linalg.cholesky(torch.linalg.inv(precision)) if exact else torch.diag(precision.diagonal() ** -0.5)
        self.tril = tril.requires_grad_()

    def __call__(self, x: torch.Tensor, c: torch.Tensor, samples: int) -> vaekit.Trace:
        loc = self.loc.repeat(len(x) // len(self.loc), 1)
        q = distributions.multivariate_normal(loc, self.tril.expand(len(x), LATENT, LATENT))
        z = q.rsample((samples,))
        site = vaekit.Site(q, distributions.normal(torch.zeros_like(loc), torch.ones_like(loc)), z)
        theta = z.flatten(0, 1) @ self.w.T
        px = distributions.normal(theta, torch.full_like(theta, NOISE))
        return vaekit.Trace(x, c, vaekit.Draw(z, (site,)), px)

    def terms(self, samples: int, seed: int = 0, times: int = 1) -> vaekit.Terms:
        """The loss of the data, each example as often as said."""
        torch.manual_seed(seed)
        x = self.x.repeat(times, 1)
        return IWAE((DATA,), vaekit.Space((LATENT,)), 64, samples=samples)(self, x, x.new_zeros(len(x), 0))

    def log_weight(self, samples: int, seed: int = 0) -> torch.Tensor:
        """The log-weights of the same draws."""
        torch.manual_seed(seed)
        return self(self.x, self.x.new_zeros(len(self.x), 0), samples).log_weight()

    def gradients(self, loss: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(loss, (self.w, self.loc, self.tril))


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_at_the_exact_posterior_it_is_log_p_for_every_k(samples: int) -> None:
    model = LinearGaussian(32, exact=True)
    terms = model.terms(samples)
    torch.testing.assert_close(terms.loss, model.nll)
    torch.testing.assert_close(terms.parts["iwae"], model.nll)
    torch.testing.assert_close(model.terms(samples, times=2).loss, model.nll)


def test_more_draws_tighten_it_to_log_p() -> None:
    model = LinearGaussian(200, exact=False)
    with torch.no_grad():
        found = {k: torch.stack([model.terms(k, seed).loss for seed in range(16)]) for k in (1, 2, 8, 64, 2000)}
        nelbo = torch.stack([model.terms(64, seed).parts["nelbo"] for seed in range(16)])
    means = [losses.mean().item() for losses in found.values()]
    errors = [losses.std().item() / math.sqrt(16) for losses in found.values()]
    assert means[0] == pytest.approx(nelbo.mean().item(), abs=4 * math.hypot(errors[0], nelbo.std().item() / math.sqrt(16)))
    for looser, tighter, error in zip(means, means[1:], errors, strict=False):
        assert tighter < looser - 4 * error
    assert model.nll.item() - 4 * errors[-1] < means[-1] < model.nll.item() + 0.05


def test_one_draw_is_the_elbo_by_draws_with_its_gradient() -> None:
    model = LinearGaussian(32, exact=False)
    terms = model.terms(1)
    torch.manual_seed(0)
    trace = model(model.x, model.x.new_zeros(32, 0), 1)
    [site] = trace.draw.sites
    elbo = (trace.log_px() + site.p.log_prob(site.z) - site.q.log_prob(site.z)).mean()
    torch.testing.assert_close(terms.loss, -elbo)
    for got, wanted in zip(model.gradients(terms.loss), model.gradients(-elbo), strict=True):
        torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(terms.parts["reconstruction"], -trace.log_px().mean().detach())
    torch.testing.assert_close(terms.parts["nelbo"], -trace.elbo().mean().detach())
    torch.testing.assert_close(terms.parts["kl"], trace.kl().mean().detach())


def test_it_is_the_log_of_the_mean_weight_and_its_gradient_goes_by_weight() -> None:
    model = LinearGaussian(32, exact=False)
    terms, weights = model.terms(7), model.log_weight(7)
    torch.testing.assert_close(terms.loss, -weights.exp().mean(0).log().mean())
    shares = (weights.exp() / weights.exp().sum(0)).detach()
    by_weight = -(shares * weights).sum(0).mean()
    for got, wanted in zip(model.gradients(terms.loss), model.gradients(by_weight), strict=True):
        torch.testing.assert_close(got, wanted)


class Leaves:
    """A model as far as losses look at it, which leaves one trace behind."""

    def __init__(self, trace: vaekit.Trace, exact: bool = True) -> None:
        self.trace, self.likelihood = trace, SimpleNamespace(exact=exact)

    def __call__(self, x: torch.Tensor, c: torch.Tensor, samples: int) -> vaekit.Trace:
        return self.trace

    def terms(self) -> vaekit.Terms:
        trace = self.trace
        loss = IWAE(tuple(trace.x.shape[1:]), vaekit.Space((2,)), 64, samples=len(trace.draw.z))
        return loss(self, trace.x, trace.c)


def _leaves(*sites: vaekit.Site, penalty: torch.Tensor | None = None, exact: bool = True) -> Leaves:
    z = sites[-1].z
    px = distributions.normal(torch.ones(z.shape[0] * z.shape[1], 5), torch.full((z.shape[0] * z.shape[1], 5), 0.5))
    return Leaves(
        vaekit.Trace(torch.zeros(z.shape[1], 5), torch.zeros(z.shape[1], 0), vaekit.Draw(z, sites, penalty), px), exact
    )


def _normal(*shape: int) -> torch.distributions.Distribution:
    return distributions.normal(torch.randn(shape), torch.rand(shape) + 0.5)


def _site(q: torch.distributions.Distribution, samples: int) -> vaekit.Site:
    return vaekit.Site(q, _normal(*q.mean.shape), q.sample((samples,)))


def test_every_layer_counts() -> None:
    below = Independent(Normal(torch.randn(3, 4, 2), torch.rand(3, 4, 2) + 0.5), 1)
    lower = vaekit.Site(below, Independent(Normal(torch.zeros(3, 4, 2), 1.0), 1), below.sample())
    model = _leaves(_site(_normal(4, 2), 3), lower)
    weights = model.trace.log_weight()
    assert weights.shape == (3, 4)
    torch.testing.assert_close(model.terms().loss, -weights.exp().mean(0).log().mean())


def test_an_estimated_kl_is_called_so() -> None:
    q = distributions.laplace(torch.randn(4, 2), torch.rand(4, 2) + 0.5)
    model = _leaves(_site(q, 3))
    parts = model.terms().parts
    assert set(parts) == {"nelbo", "reconstruction", "kl_mc", "iwae"}
    torch.testing.assert_close(parts["nelbo"], -model.trace.log_weight().mean())


def test_the_penalty_is_in_the_loss_and_in_no_bound() -> None:
    site, penalty = _site(_normal(4, 2), 3), torch.arange(4.0)
    without, terms = _leaves(site).terms(), _leaves(site, penalty=penalty).terms()
    torch.testing.assert_close(terms.loss, without.loss + 1.5)
    assert terms.parts == {**without.parts, "penalty": penalty.mean()}


@pytest.mark.parametrize("samples", [1, 6])
def test_for_chosen_codes_every_k_gives_the_probability_of_the_code(samples: int) -> None:
    codes = torch.randint(7, (4, 2))
    prior = Independent(Categorical(logits=torch.randn(4, 2, 7)), 1)
    model = _leaves(vaekit.Site(distributions.PointMass(codes), prior, codes.expand(samples, 4, 2)))
    log_px = model.trace.log_px()[0]
    torch.testing.assert_close(model.terms().loss, -(log_px + prior.log_prob(codes)).mean())


def test_a_profile_likelihood_is_labelled_and_scores_once() -> None:
    model = _leaves(_site(_normal(4, 2), 3), exact=False)
    scored, log_prob = [], model.trace.px.log_prob
    model.trace.px.log_prob = lambda x: scored.append(x) or log_prob(x)
    assert set(model.terms().parts) == {"profile", "reconstruction", "kl", "iwae"}
    assert len(scored) == 1


def _far(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient by 500 draws whose log-weights are near -100,000."""
    torch.manual_seed(0)
    z = (16 + 1e-3 * torch.randn(500, 4, 1)).to(dtype).requires_grad_()
    one = distributions.normal(torch.zeros(4, 1, dtype=dtype), torch.ones(4, 1, dtype=dtype))
    theta = z.flatten(0, 1).expand(2000, 784)
    px = distributions.normal(theta, torch.ones_like(theta))
    x = torch.zeros(4, 784, dtype=dtype)
    loss = Leaves(vaekit.Trace(x, x[:, :0], vaekit.Draw(z, (vaekit.Site(one, one, z),)), px)).terms().loss
    return loss.detach(), *torch.autograd.grad(loss, z)


def test_log_weights_far_below_zero_are_no_trouble_in_float32() -> None:
    loss, gradient = _far(torch.float32)
    exact, wanted = _far(torch.float64)
    assert exact > 1e5
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), wanted, rtol=0.1, atol=1e-3 * wanted.abs().max().item())
