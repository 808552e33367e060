"""The priors keep every promise of their interface, and give what can be known without them."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from vaekit_priors import GaussianMixture, Vamp
from vaekit_priors.mixture import Mixture

import vaekit
from vaekit import Space, distributions
from vaekit.testing import parametrize_with_checks

REAL = Space((3,))


@parametrize_with_checks(
    [
        (GaussianMixture, {"components": 5}),
        (Vamp, {"components": 5}),
        (Vamp, {"components": 3, "clamp": True, "weighted": True}),
    ],
    shapes=[(1, 8, 8), (6, 4), (5,)],
)
def test_conformance(check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks([GaussianMixture, Vamp])
def test_conformance_of_the_defaults(check) -> None:
    check()


def _no_posterior(x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
    raise AssertionError("this prior is not made of posteriors")


def _mixture(components: int, shape: tuple[int, ...] = (3,), seed: int = 0) -> GaussianMixture:
    """A mixture in no particular state."""
    torch.manual_seed(seed)
    prior = GaussianMixture(Space(shape), (5,), 0, components=components)
    with torch.no_grad():
        prior.logits.copy_(torch.randn(components))
        prior.log_scale.copy_(0.5 * torch.randn(components, *shape))
    return prior


def _reference(prior: GaussianMixture) -> MixtureSameFamily:
    """The same by torch's own mixture, in float64 and difference by difference."""
    loc, scale = prior.loc.detach().double(), prior.log_scale.detach().double().exp()
    each = Independent(Normal(loc, scale), loc.dim() - 1)
    return MixtureSameFamily(Categorical(logits=prior.logits.detach().double()), each)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 3, 2)])
def test_a_mixture_has_the_density_and_the_gradient_of_torchs_own(shape: tuple[int, ...]) -> None:
    prior = _mixture(7, shape)
    z = (3 * torch.randn(2, 4, *shape)).requires_grad_()
    got = prior(torch.zeros(4, 0), _no_posterior).log_prob(z)
    wanted = _reference(prior).log_prob(z.double())
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(got.sum(), z, retain_graph=True)
    (expected,) = torch.autograd.grad(wanted.sum(), z)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-4)


def test_narrow_components_far_from_zero_cost_no_accuracy() -> None:
    prior = _mixture(20, (64,))
    with torch.no_grad():
        prior.loc.copy_(100 + prior.loc)
        prior.log_scale.fill_(math.log(1e-3))
    p = _reference(prior)
    z = p.sample((200,)).float()
    torch.testing.assert_close(
        prior(torch.zeros(200, 0), _no_posterior).log_prob(z).double(), p.log_prob(z.double()), rtol=1e-5, atol=1e-2
    )


def test_a_mixture_of_one_is_a_normal() -> None:
    prior = _mixture(1)
    p = prior(torch.zeros(4, 0), _no_posterior)
    one = distributions.normal(prior.loc.expand(4, 3), prior.log_scale.exp().expand(4, 3))
    z = torch.randn(6, 4, 3)
    torch.testing.assert_close(p.log_prob(z), one.log_prob(z))
    draws = p.sample((20_000,))[:, 0]
    error = prior.log_scale.exp() / math.sqrt(20_000)
    assert ((draws.mean(0) - prior.loc[0]).abs() < 5 * error).all()


def test_the_estimated_kl_to_a_mixture_of_one_is_the_closed_one() -> None:
    prior = _mixture(1)
    q = distributions.normal(torch.randn(4, 3), torch.rand(4, 3) + 0.5)
    z = q.rsample((20_000,))
    site = vaekit.Site(q, prior(torch.zeros(4, 0), _no_posterior), z)
    assert not site.closed
    closed = distributions.kl(q, distributions.normal(prior.loc.expand(4, 3), prior.log_scale.exp().expand(4, 3)))
    error = site.log_ratio().std(0) / math.sqrt(20_000)
    assert ((site.kl() - closed).abs() < 5 * error).all()


def _shares(draws: torch.Tensor, means: torch.Tensor) -> torch.Tensor:
    """How many of the draws are near each of the means, which are far apart."""
    return torch.cdist(draws, means).argmin(1).bincount(minlength=len(means)) / len(draws)


@pytest.mark.parametrize("n", [3, 12, 8000])
def test_a_mixture_draws_each_component_by_its_weight(n: int) -> None:
    prior = _mixture(12)
    with torch.no_grad():
        prior.loc.copy_(100 * torch.randn(12, 3))
        prior.log_scale.zero_()
    weights = prior.logits.detach().softmax(0)
    samples = 8000 // n + 1
    draws = prior(torch.zeros(n, 0), _no_posterior).sample((samples,))
    assert draws.shape == (samples, n, 3)
    error = (weights * (1 - weights) / draws[..., 0].numel()).sqrt()
    assert ((_shares(draws.flatten(0, 1), prior.loc.detach()) - weights).abs() < 5 * error).all()
    first = _shares(draws[:, 0], prior.loc.detach())  # every place of a batch draws of all, not each of its own
    assert ((first - weights).abs() < 5 * (weights * (1 - weights) / samples).sqrt() + 1e-6).all()


def test_draws_of_one_component_are_independent() -> None:
    draws = _mixture(1)(torch.zeros(4000, 0), _no_posterior).sample()
    assert len(draws.unique(dim=0)) == 4000
    assert torch.corrcoef(torch.stack([draws[:-1, 0], draws[1:, 0]]))[0, 1].abs() < 0.08


def test_a_mixture_begins_where_the_posteriors_are() -> None:
    prior = GaussianMixture(REAL, (5,), 0, components=4)
    assert prior.begins_with >= 4
    centre = torch.tensor([50.0, -20.0, 3.0])

    def posterior(x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
        return distributions.normal(centre + 10 * x[:, :3], torch.full((len(x), 3), 0.1))

    x = torch.randn(prior.begins_with, 5)
    with torch.no_grad():
        prior.begin(x, torch.zeros(len(x), 0), posterior)
        torch.testing.assert_close(prior.loc, centre + 10 * x[:4, :3], atol=0.5, rtol=0)
        torch.testing.assert_close(prior.log_scale.exp(), torch.full((4, 3), 10.0), rtol=0.3, atol=0)
        z = posterior(x, x).sample()
        fresh = GaussianMixture(REAL, (5,), 0, components=4)
        c = torch.zeros(len(x), 0)
        better = prior(c, posterior).log_prob(z).mean() - fresh(c, posterior).log_prob(z).mean()
        assert better > 100
        fresh.begin(x[:1], c[:1], posterior)  # one example tells no scale
        assert fresh.log_scale.isfinite().all()


def test_with_fewer_examples_than_components_none_is_far_from_all() -> None:
    prior = GaussianMixture(REAL, (5,), 0, components=300)
    x = torch.tensor([50.0, -20.0, 3.0]) + torch.tensor([10.0, 1.0, 0.1]) * torch.randn(40, 3)
    with torch.no_grad():
        prior.begin(x, torch.zeros(40, 0), lambda x, c: distributions.PointMass(x))
        assert torch.equal(prior.loc[:40], x)
        assert (((prior.loc - x.mean(0)) / x.std(0)).abs() < 5).all()
        assert len(prior.loc.unique(dim=0)) == 300  # two that are one would stay one


class LinearGaussian:
    """$x = Wz + \\varepsilon$: its exact posteriors."""

    def __init__(self, data: int, latent: int, noise: float) -> None:
        self.w = torch.randn(data, latent).double()
        precision = torch.eye(latent).double() + self.w.T @ self.w / noise**2
        self.covariance, self.noise = torch.linalg.inv(precision), noise

    def posterior(self, x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
        loc = x @ self.w @ self.covariance / self.noise**2
        tril = torch.linalg.cholesky(self.covariance)
        return distributions.multivariate_normal(loc, tril.expand(len(x), *tril.shape))


def test_with_the_data_as_pseudo_inputs_the_kl_is_the_information_about_the_example() -> None:
    """KL(q(z | x) ‖ mean of all q), averaged over the data, is log N at most, and that where posteriors do not overlap."""
    x = 10 * torch.randn(6, 5).double()
    c = torch.zeros(6, 0).double()
    for noise, overlap in ((0.05, False), (30.0, True)):
        toy = LinearGaussian(5, 2, noise)
        prior = Vamp(Space((2,)), (5,), 0, components=6).double()
        with torch.no_grad():
            prior.begin(x, c, toy.posterior)
            q = toy.posterior(x, c)
            z = q.sample((20_000,))
            site = vaekit.Site(q, prior(c, toy.posterior), z)
            kl, error = site.kl().mean(), site.log_ratio().mean(1).std() / math.sqrt(20_000)
            every = torch.stack([toy.posterior(x[k : k + 1], c[:1]).log_prob(z) for k in range(6)]).logsumexp(0) - math.log(6)
        torch.testing.assert_close(site.p.log_prob(z), every)
        assert kl < math.log(6) + 5 * error
        if overlap:
            assert 0 < kl < math.log(6) - 0.3
        else:
            assert kl.item() == pytest.approx(math.log(6), abs=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_vamp_has_one_density_for_gaussian_posteriors_and_for_others(weighted: bool) -> None:
    prior = Vamp(REAL, (5,), 2, components=9, weighted=weighted)
    with torch.no_grad():
        prior.logits.copy_(torch.randn(9) if weighted else torch.zeros(9))
    head = nn.Linear(7, 6)

    def posterior(x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
        loc, s = head(torch.cat([x, c], 1)).chunk(2, 1)
        return distributions.normal(loc, s.exp())

    class Unknown(torch.distributions.Distribution):
        """One that is not known to be normal."""

        arg_constraints: dict = {}

        def __init__(self, inner: torch.distributions.Distribution) -> None:
            self.inner = inner
            super().__init__(inner.batch_shape, inner.event_shape, validate_args=False)

        def log_prob(self, value: torch.Tensor) -> torch.Tensor:
            return self.inner.log_prob(value)

    c, z = torch.randn(4, 2), torch.randn(2, 4, 3)
    p = prior(c, posterior)
    assert isinstance(p, Mixture)
    torch.testing.assert_close(p.log_prob(z), prior(c, lambda x, c: Unknown(posterior(x, c))).log_prob(z))
    p.log_prob(z).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in prior.parameters())


@pytest.mark.parametrize("n", [2, 20, 6000])
def test_vamp_draws_of_all_its_components_by_weight(n: int) -> None:
    prior = Vamp(REAL, (3,), 0, components=20, weighted=True)
    with torch.no_grad():
        prior.inputs.copy_(100 * torch.randn(20, 3))
        prior.logits.copy_(torch.randn(20))
    p = prior(torch.zeros(n, 0), lambda x, c: distributions.laplace(x, torch.ones_like(x)))
    weights = prior.logits.detach().softmax(0)
    draws = p.sample((6000 // n,)).flatten(0, 1)
    shares = _shares(draws, prior.inputs.detach())
    assert (shares > 0).all()
    assert ((shares - weights).abs() < 5 * (weights * (1 - weights) / len(draws)).sqrt()).all()


def test_vamp_begins_with_examples_and_their_contexts() -> None:
    prior = Vamp(REAL, (5,), 2, components=4)
    assert prior.begins_with == 4
    x, c = torch.randn(4, 5), torch.randn(4, 2)
    before = prior.inputs.detach().clone()
    with torch.no_grad():
        prior.begin(x[:3], c[:3], _no_posterior)
    assert torch.equal(prior.inputs[:3], x[:3])
    assert torch.equal(prior.contexts[:3], c[:3])
    assert torch.equal(prior.inputs[3:], before[3:])


def test_vamp_takes_nothing_of_where_an_example_is_padded() -> None:
    prior = Vamp(REAL, (6, 4), 0, components=4)
    x = torch.randn(4, 6, 4)
    x[1, 2:], x[3, 5:] = torch.nan, torch.nan
    before = prior.inputs.detach().clone()
    with torch.no_grad():
        prior.begin(x, x[:, 0, :0], _no_posterior)
    assert torch.equal(prior.inputs, x.where(vaekit.mask(x), before))


@pytest.mark.parametrize("clamp", [False, True])
def test_pseudo_inputs_are_bounded_only_where_it_is_asked_for(clamp: bool) -> None:
    prior = Vamp(REAL, (5,), 0, components=4, clamp=clamp)
    with torch.no_grad():
        prior.inputs.copy_(3 * torch.randn(4, 5))
    seen = []

    def posterior(x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
        seen.append(x.detach())
        return distributions.normal(x[:, :3], torch.ones(4, 3))

    prior(torch.zeros(2, 0), posterior)
    bounded = bool((seen[0] >= 0).all() and (seen[0] <= 1).all())
    assert bounded == clamp
    assert torch.equal(seen[0], prior.inputs.detach().clamp(0, 1) if clamp else prior.inputs.detach())


def test_what_has_no_density_is_refused() -> None:
    with pytest.raises(vaekit.ShapeError, match="codes"):
        Vamp(Space((3,), "codes", 7), (5,), 0)
    with pytest.raises(vaekit.ShapeError, match="points"):
        Vamp(REAL, (5,), 0)(torch.zeros(2, 0), lambda x, c: distributions.PointMass(x[:, :3]))
    for support in ("sphere", "ball", "simplex"):
        with pytest.raises(vaekit.ShapeError, match=support):
            GaussianMixture(Space((3,), support), (5,), 0)
        Vamp(Space((3,), support), (5,), 0)


class BatchNormEncoder(vaekit.Encoder):
    """Dense layers with batch normalisation: x (N, *in_shape) gives h (N, 32)."""

    name = "batch-norm"

    def __init__(self, in_shape: vaekit.Shape, context: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(math.prod(in_shape), 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()
        )
        self.out_shape = (32,)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.layers(x.flatten(1))


def test_with_batch_norm_the_bound_is_the_same_in_training_and_in_evaluation() -> None:
    x = (torch.rand(256, 64) < 0.1 + 0.8 * (torch.randn(256, 3) @ torch.randn(3, 64) > 0)).float()
    model, loss = vaekit.build(
        {
            "data_shape": (64,),
            "latent": {"name": "gaussian", "features": 4},
            "prior": {"name": "vamp", "components": 16},
            "decoder": {"name": "mlp", "hidden": (32,)},
        }
    )
    model.encoder = BatchNormEncoder((64,), 0)
    model.latent = type(model.latent)((32,), 0, features=4)
    c = torch.zeros(256, 0)
    with torch.no_grad():
        model.prior.begin(x[:16], c[:16], model.posterior)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        loss(model, x, c).loss.backward()
        optimizer.step()
    bounds = {}
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            bounds[training] = torch.stack([model(x, c, 16).elbo().mean() for _ in range(4)]).mean().item()
    assert bounds[True] == pytest.approx(bounds[False], abs=0.5)
    assert model.prior(c, model.posterior).components.batch_shape == (16,)
