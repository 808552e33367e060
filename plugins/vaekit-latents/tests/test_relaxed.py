"""Relaxed categories: their density, their draws, and models that have them for a latent."""

import itertools
import math

import pytest
import torch
from torch.distributions import Categorical as Classes
from torch.distributions import RelaxedOneHotCategorical
from vaekit_latents import Categorical, RelaxedCategorical
from vaekit_latents.relaxed import Relaxed

import vaekit
from vaekit import distributions

LOGITS = torch.tensor([0.7, -1.2, 0.1], dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.2, 0.5, 0.67, 2.0])
def test_the_density_integrates_to_one(temperature: float) -> None:
    step = 0.1
    ratio = torch.arange(-30, 30, step, dtype=torch.float64)  # of log z to the last, times the temperature
    first, second = torch.cartesian_prod(ratio, ratio).T / temperature
    log_z = torch.stack([first, second, torch.zeros_like(first)], 1).log_softmax(1)
    density = Relaxed(LOGITS[None], temperature).log_prob(log_z.exp()) + log_z.sum(1)  # by the log-ratios
    assert density.exp().sum().item() * (step / temperature) ** 2 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_density_is_torchs(temperature: float) -> None:
    logits = torch.randn(4, 5, 3, dtype=torch.float64)
    z = torch.randn(6, 4, 5, 3, dtype=torch.float64).softmax(-1)
    wanted = RelaxedOneHotCategorical(torch.tensor(temperature).double(), logits=logits).log_prob(z).sum(-1)
    torch.testing.assert_close(Relaxed(logits, temperature).log_prob(z), wanted)
    torch.testing.assert_close(
        Relaxed(logits[:, 0], temperature).log_prob(z[:, :, 0]),
        RelaxedOneHotCategorical(torch.tensor(temperature).double(), logits=logits[:, 0]).log_prob(z[:, :, 0]),
    )


@pytest.mark.parametrize("temperature", [0.02, 0.67, 5.0])
def test_the_largest_class_of_a_draw_is_categorical_at_any_temperature(temperature: float) -> None:
    n = 40_000
    draws = Relaxed(LOGITS[None], temperature).sample((n,))[:, 0]
    counted = torch.bincount(draws.argmax(-1), minlength=3) / n
    pi = LOGITS.softmax(0)
    assert ((counted - pi).abs() < 5 * (pi * (1 - pi) / n).sqrt()).all()


def test_cold_draws_are_one_hot_draws() -> None:
    n = 40_000
    draws = Relaxed(LOGITS[None], 0.01).sample((n,))[:, 0]
    pi = LOGITS.softmax(0)
    assert (draws.max(-1).values > 0.99).double().mean() > 0.97
    assert ((draws.mean(0) - pi).abs() < 5 * (pi * (1 - pi) / n).sqrt() + 0.003).all()


def test_two_classes_are_a_logistic_variable() -> None:
    q = Relaxed(torch.tensor([[1.3, -0.4]], dtype=torch.float64), 0.5)
    ratio = q.sample((20_000,))[:, 0].log().diff(dim=-1)[:, 0]  # log z_2 / z_1, a logistic variable about -1.7 / 0.5
    for level in (0.05, 0.3, 0.5, 0.8, 0.95):
        at = (-1.7 + math.log(level / (1 - level))) / 0.5
        below = (ratio < at).double().mean().item()
        assert below == pytest.approx(level, abs=5 * math.sqrt(level * (1 - level) / 20_000))


@pytest.mark.parametrize("temperature", [0.05, 0.67])
def test_draws_in_the_corners_have_finite_densities_and_gradients(temperature: float) -> None:
    logits = torch.tensor([[[40.0, -40.0, 0.0], [0.0, 0.0, 90.0]]]).requires_grad_()
    q, p = Relaxed(logits, temperature), Relaxed(torch.zeros(1, 2, 3), 0.05)
    z = q.rsample((100,))
    assert (z == 0).any()
    ratio = p.log_prob(z) - q.log_prob(z)
    ratio.sum().backward()
    assert ratio.isfinite().all()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [0.01, 0.03, 0.1, 0.3])
def test_the_mean_of_density_ratios_is_one_where_floats_end_too(temperature: float) -> None:
    n = 40_000
    q, p = (Relaxed(logits[None].double(), t) for logits, t in ((LOGITS, temperature), (LOGITS.flip(0) / 2, 1.2 * temperature)))
    z = q.sample((n,))
    assert (z < 1e-34).any() == (temperature < 0.3)
    ratio = (p.log_prob(z) - q.log_prob(z)).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=5 * ratio.std().item() / math.sqrt(n))
    assert ratio.std() < 10


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.67])
def test_no_confidence_makes_the_kl_negative(temperature: float) -> None:
    """Of a sure posterior to even classes: log K at least, which the class alone costs, and more the surer it is."""
    found = [
        (q.log_prob(z) - Relaxed(torch.zeros(1, 3), temperature).log_prob(z)).mean().item()
        for q in (Relaxed(torch.tensor([[sure, 0.0, 0.0]]), temperature) for sure in (5.0, 20.0, 60.0, 200.0))
        for z in (q.sample((4000,)),)
    ]
    assert found[0] > math.log(3) - 0.2
    assert all(more > less - 0.1 for less, more in itertools.pairwise(found))


def test_near_temperature_zero_the_density_is_the_probability_of_the_class() -> None:
    z = torch.eye(3, dtype=torch.float64)
    q = Relaxed(LOGITS[None], 1e-6)
    torch.testing.assert_close(q.log_prob(z[:, None])[:, 0], LOGITS.log_softmax(0), atol=1e-4, rtol=0)


def _model(data: int = 3, prior: dict | None = None, **latent) -> vaekit.VAE:
    torch.manual_seed(1)
    config = vaekit.Config(
        data_shape=(data,),
        encoder={"name": "mlp", "hidden": [8]},
        latent={"name": "categorical", "variables": 1, "classes": 2, **latent},
        prior={"name": "relaxed-categorical", **(prior or {})},
        decoder={"name": "mlp", "hidden": [8]},
        likelihood={"name": "bernoulli"},
    )
    model, _ = vaekit.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.double().eval()


X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def _require_log_p(model: vaekit.VAE, exact: torch.Tensor) -> None:
    """The importance-weighted bound comes to log p(x), and the ELBO lies below."""
    c = X[:, :0]
    with torch.no_grad():
        weights = model(X, c, 40_000).log_weight()
    error = weights.exp().std(0) / 200 / exact.exp()
    assert ((weights.logsumexp(0) - math.log(40_000) - exact).abs() < 5 * error).all()
    assert (error < 0.03).all()
    assert (weights.mean(0) < exact - 0.001).all()


def test_importance_weights_of_relaxed_draws_give_log_p() -> None:
    model = _model()
    ratio = torch.arange(-60, 60, 0.01, dtype=torch.float64)
    z = torch.stack([torch.sigmoid(ratio), torch.sigmoid(-ratio)], 1)
    jacobian = z.log().sum(1)
    prior = Relaxed(torch.zeros(1, 1, 2).double(), 1.0)
    with torch.no_grad():
        px = model.px(z, z.new_zeros(len(z), 0))
        log_px = torch.stack([px.log_prob(x.expand(len(z), 3)) for x in X], 1)
    exact = (log_px + (prior.log_prob(z[:, None, None])[:, 0] + jacobian)[:, None]).logsumexp(0) + math.log(0.01)
    _require_log_p(model, exact)


def test_hard_categories_are_categories() -> None:
    model = _model(hard=True, prior={"learned": True})
    with torch.no_grad():
        model.prior.logits.copy_(torch.tensor([[0.9, -0.3]]))
        one_hot = torch.eye(2, dtype=torch.float64)
        log_px = torch.stack([model.px(one_hot, X[:, :0]).log_prob(x.expand(2, 3)) for x in X])
        exact = (log_px + model.prior.logits[0].log_softmax(0)).logsumexp(1)
    _require_log_p(model, exact)


def test_hard_draws_are_one_hot_and_let_gradients_pass() -> None:
    part = Categorical((4,), 0, variables=3, classes=5, hard=True)
    h, c = torch.randn(6, 4), torch.zeros(6, 0)
    prior = RelaxedCategorical(part.root, (4,), 0)(c, part.posterior)
    draw = part(h, c, prior, 7)
    rows = draw.z.unflatten(-1, (3, 5))
    torch.testing.assert_close(rows.sort(-1).values[..., :-1], torch.zeros(7, 6, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.sum(-1), torch.ones(7, 6, 3))
    assert (rows.argmax(-1) == draw.sites[0].z.argmax(-1)).all()
    weight = torch.randn_like(draw.z)
    (reaching,) = torch.autograd.grad((draw.z * weight).sum(), draw.sites[0].z)
    torch.testing.assert_close(reaching.flatten(-2), weight)
    assert set(part.code(h, c).unique().round().tolist()) == {0.0, 1.0}


def test_the_code_is_the_mean_of_true_categories() -> None:
    part = Categorical((4,), 2, variables=3, classes=5)
    h, c = torch.randn(6, 4), torch.randn(6, 2)
    code = part.code(h, c).unflatten(1, (3, 5))
    drawn = part.posterior(h, c).sample((20_000,)).argmax(-1)
    wanted = torch.nn.functional.one_hot(drawn, 5).float().mean(0)
    assert ((code - wanted).abs() < 5 * (code * (1 - code) / 20_000).sqrt() + 1e-4).all()


def test_the_learned_prior_takes_any_probabilities() -> None:
    root = vaekit.Space((2, 3), "simplex")
    prior = RelaxedCategorical(root, (4,), 0, learned=True)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([[3.0, 0.0, -1.0], [0.0, 0.0, 1.0]]))
    drawn = prior(torch.zeros(1, 0), None).sample((20_000,))[:, 0].argmax(-1)
    for row in range(2):
        pi = Classes(logits=prior.logits[row].detach()).probs
        counted = torch.bincount(drawn[:, row], minlength=3) / 20_000
        assert ((counted - pi).abs() < 5 * (pi * (1 - pi) / 20_000).sqrt()).all()


def test_a_posterior_that_says_nothing_costs_nothing() -> None:
    part = Categorical((4,), 0)
    with torch.no_grad():
        part.head.weight.zero_()
        part.head.bias.zero_()
        prior = RelaxedCategorical(part.root, (4,), 0)(torch.zeros(5, 0), part.posterior)
        kl = part(torch.randn(5, 4), torch.zeros(5, 0), prior, 3).sites[0].kl()
    torch.testing.assert_close(kl, torch.zeros(5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("support", ["real", "sphere", "ball"])
def test_the_prior_is_for_the_simplex(support: str) -> None:
    with pytest.raises(vaekit.ShapeError, match="lives on the simplex"):
        RelaxedCategorical(vaekit.Space((3,), support), (4,), 0)


def test_it_is_no_normal_latent() -> None:
    with pytest.raises(vaekit.ShapeError, match="a space of simplex"):
        vaekit.build(vaekit.Config(data_shape=(3,), latent={"name": "categorical"}, prior={"name": "normal"}))


def test_half_precision_scores_in_full() -> None:
    logits = torch.randn(4, 2, 3).bfloat16()
    z = Relaxed(logits.float(), 0.67).sample()
    assert Relaxed(logits, 0.67).log_prob(z).dtype == torch.float32
    torch.testing.assert_close(Relaxed(logits, 0.67).log_prob(z), Relaxed(logits.float(), 0.67).log_prob(z))
    assert not distributions.has_kl(Relaxed(logits, 0.67), Relaxed(logits, 0.5))
