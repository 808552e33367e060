"""Losses that take latents apart: their terms against exact ones."""

import math
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal
from vaekit_losses import DIP, BetaTC

import vaekit
from vaekit import distributions


class Encoded:
    """A model as far as losses look at it: a posterior and a draw for each row of x, and a decoder that gives nothing away."""

    in_nats = vaekit.VAE.in_nats
    latent = SimpleNamespace(has_density=True)

    def __init__(self, q: torch.distributions.Distribution, penalty: Tensor | None = None) -> None:
        self.likelihood = SimpleNamespace(exact=True)
        z = q.rsample((1,))
        self.site = vaekit.Site(q, distributions.normal(torch.zeros_like(z[0]), torch.ones_like(z[0])), z)
        self.x = torch.zeros(len(z[0]), 3)
        px = distributions.normal(self.x + 1, torch.ones_like(self.x))
        self.trace = vaekit.Trace(self.x, self.x[:, :0], vaekit.Draw(z, (self.site,), penalty), px)

    def __call__(self, x: Tensor, c: Tensor, samples: int = 1) -> vaekit.Trace:
        return self.trace

    def by(self, loss: type[vaekit.Loss], examples: int | None = None, **options: object) -> vaekit.Terms:
        root = vaekit.Space(tuple(self.site.z.shape[2:]))
        return loss((3,), root, examples or len(self.x), **options)(self, self.x, self.x[:, :0])


def _normals(n: int, d: int) -> torch.distributions.Distribution:
    return distributions.normal(torch.randn(n, d).double(), torch.rand(n, d).double() + 0.3)


def _exact(site: vaekit.Site) -> dict[str, Tensor]:
    """The three parts of the KL at the draws, where the rows of the batch are all examples that there are."""
    loc, scale, z = site.q.base_dist.loc, site.q.base_dist.scale, site.z[0]
    alike = Categorical(logits=torch.zeros(len(z)).double())
    log_q = MixtureSameFamily(alike, Independent(Normal(loc, scale), 1)).log_prob(z)
    each = [MixtureSameFamily(alike, Normal(loc[:, d], scale[:, d])).log_prob(z[:, d]) for d in range(z.shape[1])]
    product = torch.stack(each).sum(0)
    return {
        "mutual_information": (site.q.log_prob(z) - log_q).mean(),
        "total_correlation": (log_q - product).mean(),
        "dimension_kl": (product - site.p.log_prob(z)).mean(),
    }


def test_on_the_whole_training_set_stratified_is_exact() -> None:
    model = Encoded(_normals(9, 3))
    terms, exact = model.by(BetaTC, estimator="stratified", alpha=2.0, beta=5.0, gamma=0.5), _exact(model.site)
    for name, value in exact.items():
        torch.testing.assert_close(terms.parts[name], value)
    weighed = sum(w * value for w, value in zip((2.0, 5.0, 0.5), exact.values(), strict=True))
    torch.testing.assert_close(terms.loss, -model.trace.log_px().mean() + weighed)


def test_on_the_whole_training_set_weighted_is_exact_but_for_known_constants() -> None:
    model = Encoded(_normals(9, 3))
    parts, exact = model.by(BetaTC).parts, _exact(model.site)
    for name, times in (("mutual_information", 1), ("total_correlation", 2), ("dimension_kl", -3)):
        torch.testing.assert_close(parts[name], exact[name] + times * math.log(9))


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_three_are_the_kl_at_the_draws_whatever_the_estimate(estimator: str) -> None:
    model = Encoded(_normals(9, 3))
    terms = model.by(BetaTC, examples=500, estimator=estimator, beta=1.0)
    parts = terms.parts
    kl = -model.site.log_ratio().mean()
    torch.testing.assert_close(parts["mutual_information"] + parts["total_correlation"] + parts["dimension_kl"], kl)
    torch.testing.assert_close(terms.loss, -model.trace.log_px().mean() + kl)
    torch.testing.assert_close(parts["kl"], model.site.kl().mean())


def test_the_total_correlation_of_correlated_normals_is_found() -> None:
    n, noise, rho = 1500, 0.3, 0.8
    cov = torch.tensor([[1, rho], [rho, 1]]).double()
    codes = MultivariateNormal(torch.zeros(2).double(), cov).sample((n,))
    model = Encoded(distributions.normal(codes, torch.full_like(codes, noise)))
    found = model.by(BetaTC, estimator="stratified").parts["total_correlation"].item()
    known = -0.5 * math.log(1 - (rho / (1 + noise**2)) ** 2)
    assert found == pytest.approx(known, abs=0.06)
    apart = Encoded(distributions.normal(torch.randn(n, 2).double(), torch.full_like(codes, noise)))
    assert apart.by(BetaTC, estimator="stratified").parts["total_correlation"].item() == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_stratified_is_right_in_expectation_over_batches(size: int) -> None:
    examples, q = 6, _normals(6, 1)
    loss = BetaTC((3,), vaekit.Space((1,)), examples, estimator="stratified")
    at = q.sample()[0]
    density = q.log_prob(at.expand(6, 1)).exp()
    batches = [(0, *others) for others in combinations(range(1, 6), size - 1)]
    estimates = [(loss._log_weights(size, density)[0].exp() * density[list(batch)]).sum() for batch in batches]
    torch.testing.assert_close(torch.stack(estimates).mean(), density.mean())


@pytest.mark.parametrize(("size", "examples"), [(4, 4), (4, 100), (7, 60_000)])
def test_stratified_weights_are_a_distribution_with_the_own_one_on_the_diagonal(size: int, examples: int) -> None:
    loss = BetaTC((3,), vaekit.Space((1,)), examples, estimator="stratified")
    weights = loss._log_weights(size, torch.zeros(1).double()).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(size).double())
    torch.testing.assert_close(weights.diagonal(), torch.full((size,), 1 / examples).double())


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_a_batch_of_one_and_a_training_set_of_one_are_finite(estimator: str) -> None:
    for n, examples in ((1, 100), (1, 1), (4, 1)):
        terms = Encoded(_normals(n, 3)).by(BetaTC, examples=examples, estimator=estimator)
        assert all(value.isfinite() for value in (terms.loss, *terms.parts.values()))


def test_a_posterior_that_is_no_product_is_not_taken_apart() -> None:
    full = distributions.multivariate_normal(torch.zeros(4, 2), torch.eye(2).expand(4, 2, 2))
    with pytest.raises(vaekit.ConfigError, match="are no product: loss=factor takes"):
        Encoded(full).by(BetaTC)
    with pytest.raises(vaekit.ShapeError, match="space of sphere"):
        BetaTC((3,), vaekit.Space((2,), "sphere"), 64)


def test_the_layers_below_count_and_the_penalty_too() -> None:
    model = Encoded(_normals(5, 2), penalty=torch.full((5,), 2.0))
    without = Encoded(_normals(5, 2))
    lower = vaekit.Site(_normals(5, 2), _normals(5, 2), torch.zeros(1, 5, 2).double())
    without.trace = vaekit.Trace(model.x, model.trace.c, vaekit.Draw(model.trace.draw.z, (model.site, lower)), model.trace.px)
    torch.testing.assert_close(without.by(BetaTC).loss - lower.kl().mean(), model.by(BetaTC).loss - 2)


def _penalised(covariance: Tensor) -> dict[str, Tensor]:
    off = covariance - torch.diag(covariance.diagonal())
    return {"off_diagonal": (off**2).sum(), "diagonal": ((covariance.diagonal() - 1) ** 2).sum()}


def _full(n: int) -> torch.distributions.Distribution:
    tril = torch.tensor([[1, 0, 0], [0.5, 0.7, 0], [-0.2, 0.1, 0.4]]).double()
    return distributions.multivariate_normal(torch.randn(n, 3).double(), tril.expand(n, 3, 3))


@pytest.mark.parametrize("make", [lambda n: _normals(n, 3), _full], ids=["diagonal", "full"])
@pytest.mark.parametrize("kind", ["i", "ii"])
def test_the_covariance_is_that_of_the_means_or_of_the_draws(kind: str, make) -> None:
    q = make(11)
    model = Encoded(q)
    covariance = torch.cov(q.mean.T, correction=0)
    if kind == "ii":
        draws = q.sample((100_000,)).flatten(0, 1)
        covariance = torch.cov(draws.T)
    terms = model.by(DIP, kind=kind, off_diagonal=3.0, diagonal=0.5)
    wanted = _penalised(covariance)
    close = {"rtol": 0.02, "atol": 0.02} if kind == "ii" else {}
    for name, value in wanted.items():
        torch.testing.assert_close(terms.parts[name], value, **close)
    elbo = model.trace.elbo().mean()
    torch.testing.assert_close(terms.loss, -elbo + 3 * terms.parts["off_diagonal"] + 0.5 * terms.parts["diagonal"])
    torch.testing.assert_close(terms.parts["nelbo"], -elbo)


def test_codes_that_are_white_have_no_penalty() -> None:
    corners = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]]).double()
    white = Encoded(distributions.normal(corners, torch.full_like(corners, 0.5))).by(DIP).parts
    assert white["off_diagonal"] == white["diagonal"] == 0
    wide = Encoded(distributions.normal(corners, torch.full_like(corners, 0.5))).by(DIP, kind="ii").parts
    torch.testing.assert_close(wide["diagonal"].item(), 2 * 0.25**2)


def test_a_covariance_that_is_not_known_is_refused() -> None:
    mixture = MixtureSameFamily(Categorical(torch.ones(4, 2)), Independent(Normal(torch.zeros(4, 2, 2), 1.0), 1))
    mixture.rsample = mixture.sample
    with pytest.raises(vaekit.ConfigError, match="no covariance"):
        Encoded(mixture).by(DIP, kind="ii")
    assert Encoded(mixture).by(DIP).loss.isfinite()
    with pytest.raises(vaekit.ShapeError, match="space of codes"):
        DIP((3,), vaekit.Space((2,), "codes", 5), 64)
