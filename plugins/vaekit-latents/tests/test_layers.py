"""Latents of several layers, against integrals over all of them."""

import math

import pytest
import torch
from torch.distributions import Normal, RelaxedOneHotCategorical
from vaekit_latents import Joint, Ladder
from vaekit_latents.relaxed import Relaxed

import vaekit
from vaekit import distributions

X = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def _model(latent: dict) -> vaekit.VAE:
    """A small one in float64, whose latents matter."""
    torch.manual_seed(1)
    config = vaekit.Config(
        data_shape=(3,),
        encoder={"name": "mlp", "hidden": [8]},
        latent=latent,
        decoder={"name": "mlp", "hidden": [8]},
        likelihood={"name": "bernoulli"},
    )
    model, _ = vaekit.build(config)
    with torch.no_grad():
        for parameter in [*model.decoder.parameters(), *model.latent.parameters()]:
            parameter.mul_(1.5)
    return model.double().eval()


def _log_px(model: vaekit.VAE, z: torch.Tensor) -> torch.Tensor:
    """log p(x | z) of each x at each of many z, (Z, N)."""
    with torch.no_grad():
        px = model.px(z, z.new_zeros(len(z), 0))
        return torch.stack([px.log_prob(x.expand(len(z), 3)) for x in X], 1)


def _require_log_p(model: vaekit.VAE, exact: torch.Tensor, samples: int = 40_000) -> None:
    """The importance-weighted bound comes to log p(x), and the ELBO lies below."""
    with torch.no_grad():
        trace = model(X, X[:, :0], samples)
        weights = trace.log_weight()
    error = weights.exp().std(0) / math.sqrt(samples) / exact.exp()
    assert ((weights.logsumexp(0) - math.log(samples) - exact).abs() < 5 * error).all()
    assert (error < 0.02).all()
    assert (trace.elbo() < exact - 0.001).all()
    spread = weights.std(0) / math.sqrt(samples)
    assert ((trace.elbo() - weights.mean(0)).abs() < 5 * spread).all()


@pytest.mark.parametrize("features", [[4, 4], [2, 4]])
def test_a_path_through_a_ladder_is_straight_whether_or_not_z_has_the_shape_of_the_root(features: list[int]) -> None:
    model = _model({"name": "ladder", "features": features, "hidden": 8})
    a, b = torch.randn(2, 4).double()
    wanted = torch.stack([a, 0.75 * a + 0.25 * b, (a + b) / 2, 0.25 * a + 0.75 * b, b])
    torch.testing.assert_close(model.latent.path(a, b, 5), wanted)


LINE = torch.arange(-9, 9, 0.06, dtype=torch.float64)


def _below(part: Ladder, level: int, above: torch.Tensor) -> Normal:
    """The prior of a level, 0 for the first below the root, at values (Z, D) of that above."""
    loc, s = part.down[level](above).chunk(2, 1)
    return Normal(loc, ((1 + s.exp()).log() + 1e-6).sqrt())


def test_weights_of_a_ladder_give_log_p() -> None:
    model = _model({"name": "ladder", "features": [1, 1], "hidden": 8})
    root, z = LINE, 2 * LINE
    with torch.no_grad():
        log_p = Normal(0.0, 1.0).log_prob(root)[:, None] + _below(model.latent, 0, root[:, None]).log_prob(z)
    assert log_p.exp().sum().item() * 2 * 0.06**2 == pytest.approx(1, abs=1e-6)
    exact = (_log_px(model, z[:, None]) + log_p.logsumexp(0)[:, None]).logsumexp(0) + math.log(2 * 0.06**2)
    _require_log_p(model, exact)


def test_weights_of_three_levels_are_of_what_generate_draws() -> None:
    model = _model({"name": "ladder", "features": [1, 2, 3], "hidden": 8})
    with torch.no_grad():
        draw = model(X, X[:, :0], 100_000).draw
        ratio = torch.stack([site.log_ratio() for site in draw.sites]).sum(0).exp()
        generated = model.latent.generate(torch.randn(100_000, 1).double(), X.new_zeros(100_000, 0))
    assert ((ratio.mean(0) - 1).abs() < 5 * ratio.std(0) / math.sqrt(100_000)).all()
    assert (ratio.std(0) < 10).all()
    for moment in (1, 2):
        weighed = ratio[..., None] * draw.z**moment
        error = (weighed.var(0) + (generated**moment).var(0)).div(100_000).sqrt()
        assert ((weighed.mean(0) - (generated**moment).mean(0)).abs() < 5 * error).all()


def test_levels_add_what_x_says_to_their_prior_by_precision() -> None:
    model = _model({"name": "ladder", "features": [2, 3, 4], "hidden": 8})
    sites = model(X, X[:, :0], 6).draw.sites
    assert [site.z.shape for site in sites] == [(6, 2, 2), (6, 2, 3), (6, 2, 4)]
    for site in sites[1:]:
        assert (site.p.mean[0] != site.p.mean[1]).all()
        precision = 1 / site.q.variance - 1 / site.p.variance
        weighed = site.q.mean / site.q.variance - site.p.mean / site.p.variance
        assert (precision > 0).all()
        torch.testing.assert_close(precision, precision[:1].expand_as(precision))  # of x alone, whatever is above
        torch.testing.assert_close(weighed, weighed[:1].expand_as(weighed))


def test_the_bound_of_a_ladder_sums_over_its_levels() -> None:
    model = _model({"name": "ladder", "features": [2, 3, 4], "hidden": 8})
    trace = model(X, X[:, :0], 6)
    kl = torch.zeros(2).double()
    for site in trace.draw.sites:
        ratio = site.q.variance / site.p.variance
        dims = (ratio + (site.q.mean - site.p.mean) ** 2 / site.p.variance - 1 - ratio.log()) / 2
        kl = kl + (dims.sum(-1).mean(0) if dims.dim() == 3 else dims.sum(-1))
    torch.testing.assert_close(trace.elbo(), trace.log_px().mean(0) - kl)
    assert (trace.draw.z == trace.draw.sites[-1].z).all()


def test_a_level_of_which_x_says_nothing_keeps_its_prior() -> None:
    model = _model({"name": "ladder", "features": [2, 3], "hidden": 8})
    with torch.no_grad():
        model.latent.heads[1].bias[3:] = 1e6
        root, below = model(X, X[:, :0], 6).draw.sites
    assert below.kl().max() < 1e-5
    assert root.kl().min() > 1e-3


def test_the_code_of_a_ladder_goes_down_by_means() -> None:
    model = _model({"name": "ladder", "features": [2, 3, 4], "hidden": 8})
    part, c = model.latent, X[:, :0]
    with torch.no_grad():
        h = model.encoder(X, c)
        for head in part.heads:
            head.weight[len(head.weight) // 2 :] = 0
            head.bias[len(head.bias) // 2 :] = -40  # so sure of x that draws are means
        z = part(h, c, model.prior_z(c), 50).z
        code = part.code(h, c)
    torch.testing.assert_close(z.mean(0), code, atol=2e-3, rtol=0)
    assert (code[0] - code[1]).abs().max() > 0.05


JOINT = {"name": "joint", "features": 1, "variables": 1, "classes": 2}


def test_weights_of_a_joint_latent_give_log_p() -> None:
    model = _model(JOINT)
    root, ratio = torch.cartesian_prod(LINE[::2], torch.arange(-60, 60, 0.2, dtype=torch.float64)).T
    d = torch.stack([ratio.sigmoid(), (-ratio).sigmoid()], 1)
    p = RelaxedOneHotCategorical(torch.tensor(0.67).double(), logits=torch.zeros(2).double(), validate_args=False)
    log_p = Normal(0.0, 1.0).log_prob(root) + p.log_prob(d) + d.log().sum(1)
    exact = (_log_px(model, torch.cat([root[:, None], d], 1)) + log_p[:, None]).logsumexp(0) + math.log(0.12 * 0.2)
    _require_log_p(model, exact)


def test_the_bound_of_a_joint_latent_by_hand() -> None:
    model = _model({**JOINT, "features": 3, "variables": 2, "classes": 4, "temperature": 0.8, "prior_temperature": 0.6})
    trace = model(X, X[:, :0], 9)
    root, d = trace.draw.z[..., :3], trace.draw.z[..., 3:].unflatten(-1, (2, 4))
    q = trace.draw.sites[0].q
    kl = ((q.variance + q.mean**2 - 1 - q.variance.log()) / 2).sum(1)
    pi = trace.draw.sites[1].q.log_pi
    log_q, log_p = (
        RelaxedOneHotCategorical(torch.tensor(t).double(), logits=logits).log_prob(d).sum(-1)
        for t, logits in ((0.8, pi), (0.6, torch.zeros_like(pi)))
    )
    torch.testing.assert_close(trace.elbo(), (trace.log_px() + log_p - log_q).mean(0) - kl)
    torch.testing.assert_close(trace.draw.sites[0].z, root)
    ratio = distributions.standard_normal((2, 3), root).log_prob(root) - q.log_prob(root)
    torch.testing.assert_close(trace.log_weight(), trace.log_px() + log_p - log_q + ratio)


def test_what_a_joint_latent_generates_keeps_the_root_and_draws_categories_evenly() -> None:
    part = Joint((4,), 0, features=2, variables=2, classes=3)
    root = torch.randn(30_000, 2)
    z = part.generate(root, torch.zeros(30_000, 0))
    assert (z[:, :2] == root).all()
    d = z[:, 2:].unflatten(1, (2, 3))
    torch.testing.assert_close(d.sum(-1), torch.ones(30_000, 2))
    for row in range(2):
        counted = torch.bincount(d[:, row].argmax(-1), minlength=3) / 30_000
        assert ((counted - 1 / 3).abs() < 5 * math.sqrt(2 / 9 / 30_000)).all()
    p = Relaxed(torch.zeros(30_000, 2, 3), 0.67)
    score, wanted = p.log_prob(d), p.log_prob(p.sample())
    assert (score.mean() - wanted.mean()).abs() < 5 * math.sqrt((score.var() + wanted.var()) / 30_000)


def test_the_code_of_a_joint_latent_is_the_mean_and_the_probabilities() -> None:
    part = Joint((4,), 2, features=2, variables=2, classes=3)
    h, c = torch.randn(5, 4), torch.randn(5, 2)
    prior = distributions.standard_normal((5, 2), h)
    with torch.no_grad():
        draw, code = part(h, c, prior, 20_000), part.code(h, c)
    torch.testing.assert_close(code[:, :2], draw.sites[0].q.mean)
    drawn = torch.nn.functional.one_hot(draw.sites[1].z.argmax(-1), 3).float().mean(0).flatten(1)
    assert ((code[:, 2:] - drawn).abs() < 5 * (code[:, 2:] * (1 - code[:, 2:]) / 20_000).sqrt() + 1e-4).all()
