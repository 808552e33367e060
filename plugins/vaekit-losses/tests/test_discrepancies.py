"""Losses with a discrepancy between aggregated posterior and prior."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from vaekit_losses import WAEMMD, Info
from vaekit_losses.discrepancy import mmd

import vaekit
from vaekit import distributions


def _between(shift: float, n: int, runs: int, kernel: str, scales: tuple[float, ...] = (0.5, 2.0)) -> tuple[float, float]:
    """Mean and standard error of the estimate between N(shift, I) and N(0, I) in two dimensions."""
    found = [mmd(shift + torch.randn(n, 2), torch.randn(n, 2), kernel, scales) for _ in range(runs)]
    return torch.stack(found).mean().item(), torch.stack(found).std().item() / math.sqrt(runs)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_it_is_zero_in_expectation_for_equal_distributions(kernel: str, n: int) -> None:
    mean, error = _between(0.0, n, 500, kernel)
    assert abs(mean) < 4 * error
    assert error < 0.1


@pytest.mark.parametrize("n", [3, 40])
def test_it_is_what_the_gaussian_kernel_gives_in_closed_form(n: int) -> None:
    shift, scales = 1.5, (0.5, 2.0)
    wanted = 0.0
    for scale in scales:
        t = 2 * 2 * scale  # E exp(-d²/t) for d ~ N(m, 2) is √(t / (t + 4)) exp(-m² / (t + 4)), in each dimension
        wanted += 2 * t / (t + 4) * (1 - math.exp(-2 * shift**2 / (t + 4))) / len(scales)
    mean, error = _between(shift, n, 500, "rbf", scales)
    assert mean == pytest.approx(wanted, abs=4 * error)
    assert mean > 10 * error


def test_it_is_positive_for_distributions_that_differ_only_in_width() -> None:
    found = torch.stack([mmd(0.4 * torch.randn(100, 2), torch.randn(100, 2), "imq", (1.0,)) for _ in range(50)])
    assert (found > 0).all()


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_it_is_the_same_far_from_the_origin_in_float32_too(kernel: str) -> None:
    a, b = torch.randn(50, 3), 1 + torch.randn(50, 3)
    exact = mmd(a.double(), b.double(), kernel, (0.1, 1.0))
    a, b = a + 1e4, b + 1e4
    torch.testing.assert_close(mmd(a, b, kernel, (0.1, 1.0)).double(), exact, rtol=0, atol=2e-3)


def test_its_gradient_is_finite_where_points_are_one() -> None:
    for n in (1, 4):
        a = torch.zeros(n, 3, requires_grad=True)
        value = mmd(a, torch.randn(n, 3), "imq", (1.0,))
        (gradient,) = torch.autograd.grad(value, a)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


class Encoded:
    """A model as far as losses look at it."""

    in_nats = vaekit.VAE.in_nats
    latent = SimpleNamespace(has_density=True)

    def __init__(self, q: torch.distributions.Distribution, p: torch.distributions.Distribution) -> None:
        self.likelihood = SimpleNamespace(exact=True)
        z = q.rsample((1,))
        x = torch.zeros(z.shape[1], 3)
        self.site = vaekit.Site(q, p, z)
        self.trace = vaekit.Trace(x, x[:, :0], vaekit.Draw(z, (self.site,)), distributions.normal(x + 1, torch.ones_like(x)))

    def __call__(self, x: Tensor, c: Tensor, samples: int = 1) -> vaekit.Trace:
        return self.trace

    def by(self, loss: type[vaekit.Loss], **options: object) -> vaekit.Terms:
        torch.manual_seed(5)
        return loss((3,), vaekit.Space((2,)), 64, **options)(self, self.trace.x, self.trace.c)


def _normals(n: int) -> torch.distributions.Distribution:
    return distributions.normal(torch.randn(n, 2), torch.rand(n, 2) + 0.3)


def test_each_term_has_the_weight_that_it_is_said_to_have() -> None:
    model = Encoded(_normals(8), _normals(8))
    parts = model.by(Info).parts
    reconstruction, kl, gap = parts["reconstruction"], parts["kl"], parts["mmd"]
    assert abs(gap) > 1e-3
    torch.testing.assert_close(kl, model.site.kl().mean())
    torch.testing.assert_close(parts["nelbo"], -model.trace.elbo().mean())
    torch.testing.assert_close(model.by(Info, weight=1.0).loss, parts["nelbo"])
    torch.testing.assert_close(model.by(Info, alpha=0.25, weight=5.0).loss, reconstruction + 0.75 * kl + 4.25 * gap)
    torch.testing.assert_close(model.by(WAEMMD, weight=7.0).loss, reconstruction + 7 * gap)
    torch.testing.assert_close(model.by(Info, alpha=1.0, weight=7.0).loss, model.by(WAEMMD, weight=7.0).loss)


@pytest.mark.parametrize("loss", [Info, WAEMMD])
def test_layers_below_the_root_keep_their_kl(loss: type[vaekit.Loss]) -> None:
    model = Encoded(_normals(8), _normals(8))
    before, lower = model.by(loss).loss, vaekit.Site(_normals(8), _normals(8), torch.zeros(1, 8, 2))
    trace = model.trace
    model.trace = vaekit.Trace(trace.x, trace.c, vaekit.Draw(trace.draw.z, (model.site, lower)), trace.px)
    torch.testing.assert_close(model.by(loss).loss, before + lower.kl().mean())


def test_points_and_priors_that_draw_without_a_gradient_will_do() -> None:
    codes = torch.randn(8, 2, requires_grad=True)
    mixture = MixtureSameFamily(Categorical(torch.ones(8, 3)), Independent(Normal(torch.zeros(8, 3, 2), 1.0), 1))
    terms = Encoded(distributions.PointMass(codes), mixture).by(WAEMMD)
    (gradient,) = torch.autograd.grad(terms.loss, codes)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_the_prior_is_trained_where_its_density_counts() -> None:
    model = vaekit.build(vaekit.Config(data_shape=(6,), likelihood="bernoulli"))[0]
    model.prior.loc = nn.Parameter(torch.zeros(2))
    for loss, trained in ((WAEMMD, False), (Info, True)):
        [(player, own)] = loss((6,), model.latent.root, 64).players(model).items()
        assert player == "model"
        assert any(p is model.prior.loc for p in own) == trained
    [own] = Info((6,), model.latent.root, 64, alpha=1.0).players(model).values()
    assert not any(p is model.prior.loc for p in own)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(vaekit.ConfigError, match="at least 1 together"):
        Info((3,), vaekit.Space((2,)), 64, alpha=0.2, weight=0.5)
    for loss in (Info, WAEMMD):
        with pytest.raises(vaekit.ShapeError, match="space of codes"):
            loss((3,), vaekit.Space((2,), "codes", 5), 64)
