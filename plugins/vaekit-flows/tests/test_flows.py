"""The flows keep every promise of their interface, and give what can be known without them."""

import math
import subprocess
import sys

import pytest
import torch
from torch.autograd.functional import jacobian
from vaekit_flows import FlowLatent, FlowPrior
from vaekit_flows.steps import Autoregressive, Chain, Coupling, Planar

import vaekit
from vaekit import Space, distributions
from vaekit.testing import parametrize_with_checks

POSTERIORS = ("planar", "iaf", "spline")
PRIORS = ("maf", "iaf", "spline")
SMALL = {"depth": 2, "hidden": [8]}


@parametrize_with_checks(
    [
        *((FlowLatent, {"features": 3, "transform": transform, **SMALL}) for transform in POSTERIORS),
        *((FlowPrior, {"transform": transform, **SMALL}) for transform in PRIORS),
    ],
    shapes=[(3, 7, 5), (6, 4), (1,)],
)
def test_conformance(check) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks([FlowLatent, FlowPrior])
def test_conformance_of_the_defaults(check) -> None:
    check()


CHAINS = {
    "planar": lambda d: [Planar(d) for _ in range(3)],
    "gated": lambda d: [Autoregressive(d, (16, 16), gated=True) for _ in range(3)],
    "affine": lambda d: [Autoregressive(d, (16,), gated=False) for _ in range(3)],
    "spline": lambda d: [Coupling(d, (16, 16)) for _ in range(3)],
}


def _chain(kind: str, d: int, noise: float = 0.2) -> tuple[Chain, torch.Tensor, torch.Tensor]:
    """Steps in no particular state, points and what the steps are told of each of them."""
    chain = Chain(CHAINS[kind](d)).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return chain, 2 * torch.randn(5, d).double(), torch.randn(5, chain.told).double()


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("kind", CHAINS)
def test_the_log_determinant_is_that_of_the_jacobian_and_the_inverse_undoes(kind: str, d: int) -> None:
    chain, z, told = _chain(kind, d)
    moved, log_det = chain(z, told)
    assert (moved - z).abs().max() > 0.05
    whole = [jacobian(lambda at, i=i: chain(at, told[i]), z[i])[0] for i in range(5)]
    torch.testing.assert_close(log_det, torch.stack([j.slogdet()[1] for j in whole]))
    back, log_det_back = chain.inverse(moved, told)
    torch.testing.assert_close(back, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_det_back, -log_det, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", CHAINS)
def test_the_way_back_has_the_gradients_of_an_inverse(kind: str) -> None:
    """By the inverse function theorem, and by what finite differences say of what is told."""
    chain, z, told = _chain(kind, 3)
    moved = chain(z, told)[0].detach()
    there, back = (jacobian(lambda at, f=f: f(at, told[0])[0], at[0]) for f, at in ((chain, z), (chain.inverse, moved)))
    torch.testing.assert_close(back @ there, torch.eye(3).double(), atol=1e-5, rtol=0)
    direction = torch.randn_like(told[0])
    told_by = jacobian(lambda t: torch.cat([x.reshape(-1) for x in chain.inverse(moved[0], t)]), told[0]) @ direction
    step = 1e-5
    ends = [torch.cat([x.reshape(-1) for x in chain.inverse(moved[0], told[0] + s * step * direction)]) for s in (1, -1)]
    torch.testing.assert_close(told_by, (ends[0] - ends[1]).detach() / (2 * step), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("d", [2, 3, 5, 8])
def test_after_four_splines_every_dimension_depends_on_every_other(d: int) -> None:
    chain = Chain([Coupling(d, (16,)) for _ in range(4)]).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    z, told = torch.randn(d).double(), torch.randn(chain.told).double()
    assert (jacobian(lambda at: chain(at, told)[0], z) != 0).all()


def test_a_spline_leaves_alone_what_is_beyond_five() -> None:
    """Where the map bends, too, both ways and their gradients are finite, and where it ends nothing jumps."""
    step = Coupling(1, (16,)).double()
    torch.nn.init.normal_(step.net.layers[-1].weight)
    told = torch.randn(16).double()
    for way in (step.forward, step.inverse):
        z = torch.tensor([[-1e6], [-9.0], [-5 - 1e-9], [5 + 1e-9], [6.0], [1e6]], dtype=torch.float64, requires_grad=True)
        moved, log_det = way(z, told)
        assert torch.equal(moved, z)
        assert (log_det == 0).all()
        (moved.sum() + log_det.sum()).backward()
        assert (z.grad == 1).all()
        ends = torch.tensor([[-5 + 1e-6], [5 - 1e-6]], dtype=torch.float64)
        moved, log_det = way(ends, told)
        torch.testing.assert_close(moved, ends, atol=1e-5, rtol=0)
        torch.testing.assert_close(log_det, torch.zeros(2).double(), atol=1e-3, rtol=0)
        within = torch.linspace(-4, 4, 9).double()[:, None]
        assert (way(within, told)[0] - within).abs().max() > 0.05


@pytest.mark.parametrize("gated", [False, True])
def test_autoregressive_steps_see_only_what_came_before(gated: bool) -> None:
    step = Autoregressive(5, (3, 40), gated=gated)
    with torch.no_grad():
        step.net.layers[-1].weight.normal_()
    told = torch.randn(3)
    moved = jacobian(lambda z: step(z, told)[0].flip(-1), torch.randn(5))
    assert torch.equal(moved.triu(1), torch.zeros(5, 5))
    assert (moved.diagonal() > 0).all()


def test_planar_steps_are_invertible_whatever_they_are_told() -> None:
    """Also where $w^\\top u$ is far below -1, where the bare formula folds space and its log-determinant does not exist."""
    told = torch.randn(500, 5)
    told[:, 2:4] = -3 * told[:, :2] + 0.1 * torch.randn(500, 2)  # w against u
    step = Planar(2)
    z = torch.randn(500, 2)
    moved, log_det = step(z, told)
    assert log_det.isfinite().all()
    torch.testing.assert_close(step.inverse(moved, told)[0], z, atol=1e-3, rtol=0)
    u, w = told[:, :2], told[:, 2:4]
    assert ((u * w).sum(1) < -1).float().mean() > 0.5
    assert step(z[:1], told[:1])[1].shape == (1,)


def test_planar_steps_add_no_fudge_to_the_log_determinant() -> None:
    """A step whose u is nothing moves nothing, and its log-determinant is nothing to the last digit that there is."""
    told = torch.randn(50, 9).double()
    told[:, :4] = 0
    z = torch.randn(50, 4).double()
    moved, log_det = Planar(4)(z, told)
    torch.testing.assert_close(moved, z, atol=1e-12, rtol=0)
    assert log_det.abs().max() < 1e-12


def _latent(transform: str) -> FlowLatent:
    """One in no particular state."""
    latent = FlowLatent((4,), 0, features=2, transform=transform, depth=3, hidden=[16])
    with torch.no_grad():
        for parameter in latent.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    return latent


@pytest.mark.parametrize("transform", POSTERIORS)
def test_the_density_of_a_draw_is_that_of_the_point(transform: str) -> None:
    q = _latent(transform).double().posterior(torch.randn(3, 4).double(), torch.zeros(3, 0).double())
    z = q.rsample((7,))
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()), atol=1e-7, rtol=1e-7)
    other = q.rsample((7,))
    assert not torch.equal(q.log_prob(z), q.log_prob(other))  # that of the point that is asked for, not of the last draw


@pytest.mark.parametrize("transform", POSTERIORS)
def test_the_density_of_a_draw_has_the_gradient_that_inverting_it_has(transform: str) -> None:
    latent = _latent(transform).double()
    h, c = torch.randn(3, 4).double(), torch.zeros(3, 0).double()

    def gradients(own: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        q = latent.posterior(h, c)
        z = q.rsample((50,))
        loss = (q.log_prob(z if own else 1.0 * z) + z.square().sum(-1)).mean()
        return list(torch.autograd.grad(loss, list(latent.parameters())))

    for quick, slow in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(quick, slow, rtol=1e-4, atol=1e-6)


def test_a_draw_without_gradients_is_scored_with_them_where_they_are_wanted() -> None:
    latent = _latent("iaf")
    q = latent.posterior(torch.randn(3, 4), torch.zeros(3, 0))
    z = q.sample()
    q.log_prob(z).sum().backward()
    assert all(parameter.grad is not None for parameter in latent.parameters())


@pytest.mark.parametrize("transform", POSTERIORS)
def test_a_posterior_integrates_to_one(transform: str) -> None:
    q = _latent(transform).double().posterior(torch.randn(1, 4).double(), torch.zeros(1, 0).double())
    with torch.no_grad():
        draws = q.sample((4000,))[:, 0]
        low, high = draws.amin(0) - 3, draws.amax(0) + 3
        axes = [torch.linspace(a, b, 200).double() for a, b in zip(low, high, strict=True)]
        cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
        points = torch.cartesian_prod(*axes)
        mass = q.log_prob(points[:, None])[:, 0].exp() * cell
    assert mass.sum().item() == pytest.approx(1, abs=2e-3)
    mean = (mass[:, None] * points).sum(0)
    assert ((draws.mean(0) - mean).abs() < 5 * draws.std(0) / math.sqrt(4000) + 2e-3).all()


@pytest.mark.parametrize("transform", POSTERIORS)
def test_the_code_is_where_the_flow_takes_the_mean_of_the_base(transform: str) -> None:
    latent = _latent(transform).double()
    h, c = torch.randn(3, 4).double(), torch.zeros(3, 0).double()
    q, code = latent.posterior(h, c), latent.code(h, c)
    torch.testing.assert_close(q._pull(code)[0], q.base.mean, atol=1e-6, rtol=0)
    assert ((code - q.base.mean).abs().amax(1) > 1e-3).all()  # not the mean that the flow has yet to move


def _banana(z: torch.Tensor) -> torch.Tensor:
    """An unnormalised log-density: a bent ridge."""
    return -0.5 * z[..., 0] ** 2 - 0.5 * ((z[..., 1] - 1.5 * z[..., 0] ** 2 + 1.5) / 0.4) ** 2


def _bound(transform: str | None) -> tuple[float, float]:
    """E_q[log p - log q] of the best posterior found for the banana, and its standard error."""
    find = vaekit.build({"data_shape": (1,), "latent": {"name": "gaussian", "features": 2}})[0].latent
    options = {} if transform is None else {"transform": transform, "hidden": [24], "depth": 8 if transform == "planar" else 2}
    latent = (type(find) if transform is None else FlowLatent)((1,), 0, features=2, **options)
    h, c = torch.ones(1, 1), torch.zeros(1, 0)
    optimizer = torch.optim.Adam(latent.parameters(), 0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 350)
    for _ in range(350):
        q = latent.posterior(h, c)
        z = q.rsample((128,))
        optimizer.zero_grad()
        (q.log_prob(z) - _banana(z)).mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        q = latent.posterior(h, c)
        z = q.rsample((5000,))
        gap = _banana(z) - q.log_prob(z)
    return gap.mean().item(), gap.std().item() / math.sqrt(5000)


def test_every_flow_fits_a_banana_better_than_a_gaussian_and_none_beats_its_volume() -> None:
    log_volume = math.log(2 * math.pi * 0.4)
    gaussian, error = _bound(None)
    assert gaussian < log_volume - 0.4
    for transform in POSTERIORS:
        bound, error = _bound(transform)
        assert bound > gaussian + 0.1, transform
        assert bound < log_volume + 5 * error, transform


@pytest.mark.parametrize("transform", PRIORS)
@pytest.mark.parametrize("context", [0, 2])
def test_a_prior_is_the_standard_normal_before_it_learns(transform: str, context: int) -> None:
    prior = FlowPrior(Space((2, 3)), (5,), context, transform=transform)
    p = prior(torch.randn(4, context), _no_posterior)
    z = 2 * torch.randn(7, 4, 2, 3)
    torch.testing.assert_close(p.log_prob(z), distributions.standard_normal((4, 2, 3), z).log_prob(z))


def _no_posterior(x: torch.Tensor, c: torch.Tensor) -> torch.distributions.Distribution:
    raise AssertionError("this prior is not made of posteriors")


@pytest.mark.parametrize("transform", PRIORS)
def test_a_prior_learns_two_moons_of_two_classes(transform: str) -> None:
    """The sides are told by c, so that a prior which does not listen, or a Gaussian for each, is worse."""
    angle = math.pi * torch.rand(2000)
    side = (torch.rand(2000) < 0.5).float()
    sign = 2 * side - 1
    z = torch.stack([sign * angle.cos() + sign / 2, sign * angle.sin()], 1) + 0.1 * torch.randn(2000, 2)
    prior = FlowPrior(Space((2,)), (5,), 1, transform=transform, depth=3, hidden=[32])
    with torch.no_grad():
        prior.begin(z, side[:, None], lambda x, c: distributions.PointMass(x))
    optimizer = torch.optim.Adam(prior.parameters(), 0.01)
    for step in range(150):
        at = torch.arange(250) + 250 * (step % 6)
        optimizer.zero_grad()
        (-prior(side[at, None], _no_posterior).log_prob(z[at]).mean()).backward()
        optimizer.step()
    held_out, told = z[1500:], side[1500:, None]
    with torch.no_grad():
        score = prior(told, _no_posterior).log_prob(held_out).mean()
        each = [torch.distributions.MultivariateNormal(z[side == s].mean(0), z[side == s].T.cov()) for s in (0, 1)]
        gaussian = torch.where(told[:, 0] == 1, each[1].log_prob(held_out), each[0].log_prob(held_out)).mean()
        assert score > gaussian + 0.3
        draws = prior(torch.ones(2000, 1), _no_posterior).sample()
    wanted = z[side == 1]
    assert ((draws.mean(0) - wanted.mean(0)).abs() < 0.2).all()
    assert ((draws.std(0) - wanted.std(0)).abs() < 0.2).all()


@pytest.mark.parametrize("transform", PRIORS)
def test_a_prior_begins_with_the_moments_of_the_posteriors(transform: str) -> None:
    prior = FlowPrior(Space((3,)), (5,), 0, transform=transform)
    x = torch.tensor([40.0, 0.0, -7.0]) + torch.tensor([10.0, 0.2, 3.0]) * torch.randn(256, 3)
    with torch.no_grad():
        prior.begin(x, torch.zeros(256, 0), lambda x, c: distributions.PointMass(x))
        p = prior(torch.zeros(256, 0), _no_posterior)
        wanted = distributions.normal(x.mean(0).expand(256, 3), x.std(0).expand(256, 3))
        torch.testing.assert_close(p.log_prob(x), wanted.log_prob(x))
        prior.begin(x[:1], torch.zeros(1, 0), lambda x, c: distributions.PointMass(x))  # one example tells no scale
    assert all(parameter.isfinite().all() for parameter in prior.parameters())


def test_flow_posteriors_and_flow_priors_in_one_model_in_half_precision() -> None:
    for transform in POSTERIORS:
        model, loss = vaekit.build(
            {
                "data_shape": (6,),
                "dtype": "bfloat16",
                "latent": {"name": "flow", "features": 3, "transform": transform, **SMALL},
                "prior": {"name": "flow", **SMALL},
            }
        )
        x = (torch.rand(4, 6) > 0.5).float()
        trace = model(x, torch.zeros(4, 0, dtype=torch.bfloat16), 5)
        assert trace.draw.z.dtype == trace.log_weight().dtype == torch.float32
        assert trace.log_weight().isfinite().all()
        terms = loss(model, x, torch.zeros(4, 0, dtype=torch.bfloat16))
        assert "kl_mc" in terms.parts
        terms.loss.backward()


@pytest.mark.parametrize("support", ["sphere", "ball", "simplex", "codes"])
def test_a_prior_refuses_what_is_not_a_real_space(support: str) -> None:
    with pytest.raises(vaekit.ShapeError, match=support):
        FlowPrior(Space((3,), support, 4 if support == "codes" else None), (5,), 0)


_CHILD = """
from torch.distributions import Distribution, Normal
{before}
import sys, vaekit_flows
assert "zuko" in sys.modules
try:
    Normal(0.0, -1.0)
    print("taken")
except ValueError:
    print("refused")
"""


@pytest.mark.parametrize(("before", "said"), [("", "refused"), ("Distribution.set_default_validate_args(False)", "taken")])
def test_torch_validates_arguments_as_it_did_before(before: str, said: str) -> None:
    code = _CHILD.format(before=before)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == said
