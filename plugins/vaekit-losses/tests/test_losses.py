"""Losses of many draws give what can be known without them."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal
from vaekit_losses import CIWAE, IWAE, MIWAE, PIWAE, DReG

import vaekit
from vaekit import distributions

DATA, LATENT, NOISE = 6, 2, 0.7


class LinearGaussian:
    """$x = Wz + 0.7 \\varepsilon$ in float64, whose posterior and log p(x) are known: a model as far as losses look at it.

    Args:
        n: examples, drawn from the model.
        exact: whether q is the posterior, or the nearest to it that is a product over dimensions.
    """

    in_nats = vaekit.VAE.in_nats
    latent = SimpleNamespace(has_density=True)

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
        return self.by(IWAE, seed, times, samples=samples)

    def by(self, loss: type[vaekit.Loss], seed: int = 0, times: int = 1, player: str = "encoder", **options) -> vaekit.Terms:
        """Likewise, by another loss and for one of its players."""
        torch.manual_seed(seed)
        x = self.x.repeat(times, 1)
        return loss((DATA,), vaekit.Space((LATENT,)), 64, **options)(self, x, x.new_zeros(len(x), 0), player)

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

    in_nats = vaekit.VAE.in_nats
    latent = SimpleNamespace(has_density=True)

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


@pytest.mark.parametrize("loss", [MIWAE, PIWAE])
def test_one_group_is_iwae_and_groups_of_one_are_the_elbo(loss: type[vaekit.Loss]) -> None:
    model = LinearGaussian(32, exact=False)
    one_group = model.by(loss, groups=1, samples=7).loss
    torch.testing.assert_close(one_group, model.terms(7).loss)
    of_one = model.by(loss, groups=7, samples=1).loss
    torch.testing.assert_close(of_one, -model.log_weight(7).mean())
    assert of_one > one_group + 0.01


def test_groups_are_bounds_of_draws_of_their_own() -> None:
    model = LinearGaussian(32, exact=False)
    terms, weights = model.by(MIWAE, groups=3, samples=5), model.log_weight(15)
    each = torch.stack([weights[group::3].exp().mean(0).log() for group in range(3)])
    torch.testing.assert_close(terms.loss, -each.mean())
    torch.testing.assert_close(terms.parts["miwae"], -each.mean().detach())
    assert model.terms(15).loss < terms.loss


def test_groups_change_the_noise_and_not_the_bound() -> None:
    model = LinearGaussian(8, exact=False)
    with torch.no_grad():
        few, many = (torch.stack([model.by(MIWAE, s, groups=m, samples=4).loss for s in range(60)]) for m in (1, 16))
    assert few.mean().item() == pytest.approx(many.mean().item(), abs=5 * few.std().item() / math.sqrt(60))
    assert many.std() < 0.5 * few.std()


def test_a_mixed_bound_goes_from_iwae_to_the_elbo() -> None:
    model = LinearGaussian(32, exact=False)
    ends = model.by(CIWAE, beta=0.0, samples=6), model.by(CIWAE, beta=1.0, samples=6)
    torch.testing.assert_close(ends[0].loss, model.terms(6).loss)
    torch.testing.assert_close(ends[1].loss.detach(), ends[1].parts["nelbo"])
    torch.testing.assert_close(model.by(CIWAE, beta=0.05, samples=6).loss, 0.95 * ends[0].loss + 0.05 * ends[1].loss)


def test_each_player_gets_the_gradient_of_its_own_bound() -> None:
    model = LinearGaussian(32, exact=False)
    encoder, decoder = (model.by(PIWAE, player=player, groups=3, samples=5) for player in ("encoder", "decoder"))
    assert "miwae" in encoder.parts
    assert "iwae" in decoder.parts
    for got, wanted in ((encoder, model.by(MIWAE, groups=3, samples=5)), (decoder, model.terms(15))):
        torch.testing.assert_close(got.loss, wanted.loss)
        torch.testing.assert_close(model.gradients(got.loss), model.gradients(wanted.loss))


def _built(**parts: object) -> vaekit.VAE:
    small = {"encoder": {"name": "mlp", "hidden": [8]}, "decoder": {"name": "mlp", "hidden": [8]}}
    return vaekit.build(vaekit.Config(data_shape=(DATA,), likelihood="bernoulli", **{**small, **parts}))[0]


@pytest.mark.parametrize("loss", [PIWAE, DReG])
def test_the_encoders_player_owns_what_makes_the_posterior(loss: type[vaekit.Loss]) -> None:
    model = _built()
    model.context.embedding, model.prior.loc = nn.Linear(3, 3), nn.Parameter(torch.zeros(3))
    players = loss((DATA,), model.latent.root, 64).players(model)
    names = {id(p): name.partition(".")[0] for name, p in model.named_parameters()}
    owned = {player: {names[id(p)] for p in own} for player, own in players.items()}
    assert owned == {"encoder": {"encoder", "latent"}, "decoder": {"context", "prior", "decoder"}}
    assert sum(map(len, players.values())) == len(names)
    model.decoder.requires_grad_(False)
    model.prior.requires_grad_(False)
    model.context.requires_grad_(False)
    assert list(loss((DATA,), model.latent.root, 64).players(model)) == ["encoder"]


@pytest.mark.parametrize("loss", [PIWAE, DReG])
def test_a_player_moves_nothing_of_the_other(loss: type[vaekit.Loss]) -> None:
    moved = {}
    for player in ("encoder", "decoder"):
        torch.manual_seed(1)
        model = _built()
        before = {name: p.clone() for name, p in model.named_parameters()}

        class Alone(loss):
            def players(self, model: vaekit.VAE, player: str = player) -> dict[str, list[nn.Parameter]]:
                return {player: super().players(model)[player]}

        for _ in vaekit.train(model, Alone((DATA,), model.latent.root, 64), [torch.rand(16, DATA).round()], epochs=2):
            pass
        moved[player] = {name.partition(".")[0] for name, p in model.named_parameters() if not p.equal(before[name])}
    assert moved == {"encoder": {"encoder", "latent"}, "decoder": {"decoder"}}


def test_the_doubly_reparameterised_loss_has_the_value_of_the_bound() -> None:
    model = LinearGaussian(32, exact=False)
    for player in ("encoder", "decoder"):
        terms = model.by(DReG, player=player, samples=6)
        torch.testing.assert_close(terms.loss, model.terms(6).loss)
        torch.testing.assert_close(terms.parts, model.terms(6).parts)
    (got,) = torch.autograd.grad(model.by(DReG, player="decoder", samples=6).loss, model.w)
    torch.testing.assert_close(got, model.gradients(model.terms(6).loss)[0])


def test_at_the_exact_posterior_the_encoder_has_no_gradient_at_all() -> None:
    model = LinearGaussian(32, exact=True)
    posterior = model.loc, model.tril
    for gradient in torch.autograd.grad(model.by(DReG, samples=6).loss, posterior):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-10, rtol=0)
    assert torch.autograd.grad(model.terms(6).loss, model.loc)[0].norm() > 0.01


def _gradients(model, of: tuple[torch.Tensor, ...], times: int, runs: int, samples: int) -> dict[str, torch.Tensor]:
    """Gradients by both losses, one row a run, each over so many copies of the data."""
    found = {}
    for name, loss in (("plain", IWAE), ("doubly", DReG)):
        each = [torch.autograd.grad(model.by(loss, seed, times, samples=samples).loss, of) for seed in range(runs)]
        found[name] = torch.stack([torch.cat([g.flatten() for g in gradients]) for gradients in each])
    return found


def _agree(one: torch.Tensor, other: torch.Tensor) -> None:
    error = torch.hypot(one.std(0), other.std(0)) / math.sqrt(len(one))
    gap = (one.mean(0) - other.mean(0)).abs()
    assert (gap <= 4.5 * error + 1e-9).all(), (gap / error).max()


@pytest.mark.parametrize("near", [True, False])
def test_its_gradient_is_that_of_the_bound_in_expectation_with_less_noise_near_the_posterior(near: bool) -> None:
    model = LinearGaussian(4, exact=near)
    with torch.no_grad():
        model.loc += 0.1
    found = _gradients(model, (model.loc, model.tril), times=50, runs=40, samples=8)
    plain, doubly = (found[name][:, [*range(8), 8, 10, 11]] for name in ("plain", "doubly"))  # none above the diagonal
    _agree(plain, doubly)
    assert (doubly.mean(0)[:8] > 10 * doubly.std(0)[:8] / math.sqrt(40)).all()
    if near:
        assert (doubly.var(0) < 0.5 * plain.var(0)).all()


class Layers(nn.Module):
    """Two layers of latents, whose parameters are in everything: both posteriors, both priors, and what the decoder sees."""

    in_nats = vaekit.VAE.in_nats
    latent = SimpleNamespace(has_density=True)

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = SimpleNamespace(exact=True)
        self.x = torch.tensor([[0.5], [-1.0]]).double()
        self.a, self.s, self.b, self.t, self.d, self.g = (
            nn.Parameter(torch.tensor(v).double()) for v in (0.4, 0.9, 0.3, 0.8, 0.5, 1.2)
        )

    def forward(self, x: torch.Tensor, c: torch.Tensor, samples: int) -> vaekit.Trace:
        q = distributions.normal(self.a * x, self.s.expand(x.shape))
        root = q.rsample((samples,))
        below = Independent(Normal(self.b * root + self.a * x, self.t), 1)
        z = below.rsample()
        prior = distributions.normal(self.a * torch.ones_like(x), torch.ones_like(x))
        sites = vaekit.Site(q, prior, root), vaekit.Site(below, Independent(Normal(self.d * root, 1.0), 1), z)
        seen = self.g * z
        theta = seen.flatten(0, 1)
        return vaekit.Trace(x, c, vaekit.Draw(seen, sites), distributions.normal(theta, torch.full_like(theta, NOISE)))

    def by(self, loss: type[vaekit.Loss], seed: int, times: int, samples: int) -> vaekit.Terms:
        torch.manual_seed(seed)
        x = self.x.repeat(times, 1)
        return loss((1,), vaekit.Space((1,)), 64, samples=samples)(self, x, x.new_zeros(len(x), 0), "encoder")


def test_it_is_right_for_layers_and_for_parameters_that_are_everywhere() -> None:
    model = Layers()
    found = _gradients(model, tuple(model.parameters()), times=500, runs=50, samples=4)
    _agree(found["plain"], found["doubly"])
    sure = found["plain"].mean(0).abs() / found["plain"].std(0) * math.sqrt(50)
    assert (sure > 10).all()


def test_draws_without_a_gradient_are_refused() -> None:
    q = Independent(Normal(torch.zeros(4, 2), 1.0), 1)
    model = _leaves(vaekit.Site(q, q, q.sample((3,))))
    loss = DReG((5,), vaekit.Space((2,)), 64, samples=3)
    with pytest.raises(vaekit.ConfigError, match="those of this latent have none"):
        loss(model, model.trace.x, model.trace.c)
    with torch.no_grad():
        assert loss(model, model.trace.x, model.trace.c).loss.isfinite()
    with pytest.raises(vaekit.ShapeError, match="iwae takes it"):
        DReG((5,), vaekit.Space((2,), "codes", 7), 64)


def test_draws_that_the_decoder_does_not_see_are_refused() -> None:
    loc = torch.zeros(4, 2, requires_grad=True)
    q = distributions.normal(loc, torch.ones(4, 2))
    draws = q.rsample((3,))
    px = distributions.normal(draws.flatten(0, 1), torch.ones(12, 2))
    trace = vaekit.Trace(torch.zeros(4, 2), torch.zeros(4, 0), vaekit.Draw(draws, (vaekit.Site(q, q, draws + 0),)), px)
    with pytest.raises(vaekit.ConfigError, match="is not made of the draws"):
        DReG((2,), vaekit.Space((2,)), 64, samples=3)(Leaves(trace), trace.x, trace.c)
