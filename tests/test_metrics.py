"""Measures of pictures, samples and latents, each against numbers known without it."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.distributions import Categorical, Independent, MultivariateNormal

import vaekit
from vaekit import distributions, evaluation
from vaekit.metrics import fidelity, images, latents

# Pictures


def _pair(*shape: int) -> tuple[Tensor, Tensor]:
    x = torch.rand(shape, dtype=torch.float64)
    return x, (x + 0.2 * torch.randn_like(x)).clamp(0, 1)


def _slow_ssim(x: np.ndarray, y: np.ndarray, window: int) -> float:
    """Equation 13 of Wang et al. at every place of one channel, one after the other."""
    offset = np.arange(window) - window // 2
    weights = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            covariance = (weights * (a - ma) * (b - mb)).sum()
            structure = (2 * covariance + 0.03**2) / (va + vb + 0.03**2)
            found.append((2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2) * structure)
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("shape", "window"), [((2, 1, 16, 13), 11), ((2, 3, 11, 12), 11), ((3, 1, 8, 8), 7), ((1, 2, 5, 9), 3)], ids=str
)
def test_ssim_is_that_of_a_slow_loop(shape: tuple[int, ...], window: int) -> None:
    x, y = _pair(*shape)
    slow = [
        np.mean([_slow_ssim(a, b, window) for a, b in zip(p.numpy(), q.numpy(), strict=True)])
        for p, q in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(images.ssim(x, y, window).numpy(), slow, rtol=0, atol=1e-12)


def test_ssim_is_that_of_scipys_filter_away_from_the_edges() -> None:
    x, y = (t[0, 0].numpy() for t in _pair(1, 1, 28, 40))
    mx, my, xx, yy, xy = (gaussian_filter(t, 1.5, truncate=3.5) for t in (x, y, x * x, y * y, x * y))
    whole = (2 * mx * my + 1e-4) * (2 * (xy - mx * my) + 9e-4) / ((mx**2 + my**2 + 1e-4) * (xx - mx**2 + yy - my**2 + 9e-4))
    got = images.ssim(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None])
    assert got.item() == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-12)


def test_ssim_of_what_is_known() -> None:
    x, y = _pair(4, 3, 20, 20)
    torch.testing.assert_close(images.ssim(x, x), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(images.ssim(x, y), images.ssim(y, x))
    flat = torch.full((1, 1, 12, 12), 0.3), torch.full((1, 1, 12, 12), 0.6)
    assert images.ssim(*flat).item() == pytest.approx((2 * 0.18 + 1e-4) / (0.09 + 0.36 + 1e-4), abs=1e-6)
    assert images.ssim(x.round(), 1 - x.round()).max() < 0


def test_ssim_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = _pair(5, 1, 12, 12)
    whole = images.ssim(x, y)
    monkeypatch.setattr(images, "_ELEMENTS_AT_ONCE", 300)
    torch.testing.assert_close(images.ssim(x, y), whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 4, 4)], ids=str)
def test_squared_errors_and_psnr_of_a_constant_shift(shape: tuple[int, ...]) -> None:
    x = torch.rand(3, *shape, dtype=torch.float64)
    shift = torch.tensor([0.1, 0.01, 0.0], dtype=torch.float64)
    y = x + shift.reshape(3, *(1 for _ in shape))
    torch.testing.assert_close(images.mse(x, y), shift**2)
    torch.testing.assert_close(images.squared_error(x, y), shift**2 * math.prod(shape))
    torch.testing.assert_close(images.psnr(x, y), torch.tensor([20.0, 40.0, 100.0], dtype=torch.float64))


def test_the_two_kinds_of_psnr_differ_and_this_is_the_mean_over_images() -> None:
    x = torch.zeros(2, 4)
    y = torch.tensor([0.1, 0.01])[:, None].expand(2, 4)
    assert images.psnr(x, y).mean().item() == pytest.approx(30, abs=1e-5)
    assert -10 * images.mse(x, y).mean().log10().item() == pytest.approx(23, abs=0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_pictures_are_compared_in_float64(dtype: torch.dtype) -> None:
    x, y = (t.to(dtype).requires_grad_() for t in _pair(2, 1, 12, 12))
    for measure in (images.mse, images.squared_error, images.psnr, images.ssim):
        got = measure(x, y)
        assert (got.dtype, got.shape, got.requires_grad) == (torch.float64, (2,), False)
        torch.testing.assert_close(got, measure(x.double(), y.double()), rtol=0, atol=0)


# Samples


def _exact(n: int, mean: Tensor, covariance: Tensor) -> Tensor:
    """Normal draws, moved so that their own mean and covariance are these."""
    draws = torch.randn(n, len(mean), dtype=torch.float64)
    draws = draws - draws.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(draws.T @ draws / (n - 1)), draws.T, upper=False)
    return mean + (torch.linalg.cholesky(covariance) @ white).T


def _covariance(d: int) -> Tensor:
    root = torch.randn(d, d + 2, dtype=torch.float64)
    return root @ root.T / d


def test_frechet_distance_of_known_gaussians() -> None:
    d = 6
    m1, m2 = torch.randn(2, d, dtype=torch.float64)
    s1, s2 = torch.rand(2, d, dtype=torch.float64) + 0.1
    known = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()
    exact = fidelity.frechet_distance(_exact(500, m1, (s1**2).diag()), _exact(300, m2, (s2**2).diag()))
    assert exact == pytest.approx(known.item(), rel=1e-12)
    drawn = (m + s * torch.randn(200_000, d, dtype=torch.float64) for m, s in ((m1, s1), (m2, s2)))
    assert fidelity.frechet_distance(*drawn) == pytest.approx(known.item(), rel=0.01)


@pytest.mark.parametrize("d", [1, 5, 40])
def test_frechet_distance_with_scipys_square_root(d: int) -> None:
    s1, s2 = _covariance(d), _covariance(d)
    m1, m2 = torch.randn(2, d, dtype=torch.float64)
    cross = np.trace(sqrtm((s1 @ s2).numpy())).real
    known = ((m1 - m2) ** 2).sum().item() + s1.trace().item() + s2.trace().item() - 2 * cross
    first, second = _exact(100, m1, s1), _exact(200, m2, s2)
    assert fidelity.frechet_distance(first, second) == pytest.approx(known, rel=1e-9)
    assert fidelity.frechet_distance(second, first) == pytest.approx(known, rel=1e-9)
    assert fidelity.frechet_distance(first, first) == pytest.approx(0, abs=1e-12 * d)
    assert fidelity.frechet_distance(first, first + 2) == pytest.approx(4 * d, rel=1e-9)


def test_frechet_distance_of_singular_covariances() -> None:
    a, b = _exact(50, torch.zeros(2), torch.eye(2).double()), _exact(50, torch.ones(2), 4 * torch.eye(2).double())
    known = fidelity.frechet_distance(a, b)
    assert known == pytest.approx(4, rel=1e-12)  # |m1 - m2|² + 2 (1 - 2)²
    constant = torch.full((50, 3), 7.0, dtype=torch.float64)
    assert fidelity.frechet_distance(torch.cat([a, constant], 1), torch.cat([b, constant], 1)) == pytest.approx(
        known, rel=1e-12
    )
    tied = fidelity.frechet_distance(torch.cat([a, a], 1), torch.cat([b, b], 1))
    assert tied == pytest.approx(2 * known, rel=1e-12)
    assert fidelity.frechet_distance(constant, constant + 1) == pytest.approx(3, rel=1e-12)


def _slow_precision_recall(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float]:
    def covered(points: np.ndarray, by: np.ndarray) -> float:
        radii = [sorted(np.linalg.norm(by - one, axis=1))[k] for one in by]
        return float(np.mean([any(np.linalg.norm(one - o) <= r for o, r in zip(by, radii, strict=True)) for one in points]))

    return covered(generated, real), covered(real, generated)


@pytest.mark.parametrize(("n", "m", "d", "k"), [(60, 50, 2, 3), (40, 70, 5, 1), (30, 30, 1, 2)])
def test_precision_and_recall_are_those_of_a_slow_loop(n: int, m: int, d: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = torch.randn(n, d, dtype=torch.float64), 0.7 * torch.randn(m, d, dtype=torch.float64) + 0.5
    slow = _slow_precision_recall(real.numpy(), generated.numpy(), k)
    got = fidelity.precision_recall(real, generated, k)
    assert (got.precision, got.recall) == pytest.approx(slow)
    assert 0 < got.precision < 1
    monkeypatch.setattr(fidelity, "_PAIRS_AT_ONCE", 300)
    assert fidelity.precision_recall(real, generated, k) == got


def _sets() -> dict[str, tuple[Tensor, Tensor, float, float]]:
    grid = torch.cartesian_prod(torch.arange(20.0), torch.arange(20.0))
    codes = torch.randint(3, (300, 2)).float()
    rows = (100 + torch.randn(100, 64, dtype=torch.float64)).repeat(4, 1)
    inner = (grid.min(1).values >= 8) & (grid.max(1).values < 12)
    return {
        "disjoint": (grid, grid + 100, 0, 0),
        "identical": (grid, grid.clone(), 1, 1),
        "few samples inside the data": (grid, grid[inner], 1, 36 / 400),  # and the ring of data within a ball of them
        "few data inside the samples": (grid[inner], grid, 36 / 400, 1),
        "duplicates": (codes, codes.flip(0), 1, 1),
        "one code of nine": (codes, codes[(codes == 0).all(1)], 1, (codes == 0).all(1).double().mean().item()),
        "duplicates far from the origin": (rows, rows.flip(0), 1, 1),
        "next to duplicates": (rows, rows[:100] + 1e-7, 0, 1),  # no ball of the data is larger than a point
    }


@pytest.mark.parametrize("name", _sets())
def test_precision_and_recall_of_what_is_known(name: str) -> None:
    torch.manual_seed(0)
    real, generated, precision, recall = _sets()[name]
    got = fidelity.precision_recall(real, generated)
    assert (got.precision, got.recall, got.neighbours) == (precision, pytest.approx(recall), 3)


def test_kernel_distance_is_that_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(23, 3, dtype=torch.float64), torch.randn(31, 3, dtype=torch.float64) + 0.5

    def kernel(p: Tensor, q: Tensor) -> float:
        return (float(p @ q) / 3 + 1) ** 3

    within = [
        sum(kernel(p, q) for i, p in enumerate(s) for j, q in enumerate(s) if i != j) / (len(s) * (len(s) - 1)) for s in (a, b)
    ]
    known = sum(within) - 2 * sum(kernel(p, q) for p in a for q in b) / (23 * 31)
    assert fidelity.kernel_distance(a, b) == pytest.approx(known, rel=1e-12)
    monkeypatch.setattr(fidelity, "_PAIRS_AT_ONCE", 100)
    assert fidelity.kernel_distance(a, b) == pytest.approx(known, rel=1e-12)


def test_kernel_distance_has_no_bias_and_knows_two_points() -> None:
    found = torch.tensor([fidelity.kernel_distance(*torch.randn(2, 20, 4)) for _ in range(400)])
    assert found.min() < 0
    assert found.mean().abs() < 4 * found.std() / 20
    assert fidelity.kernel_distance(torch.zeros(3, 2), torch.ones(4, 2)) == pytest.approx(1 + 8 - 2)


# Latents, on a model of which everything is known


@dataclass
class Linear:
    """Probabilistic principal components: z ~ N(0, I), x ~ N(Wz + m, s² I), the columns of W at right angles.

    So the posterior N(Ax + b, diag v) is one that a Gaussian latent can give.
    """

    lengths: Tensor
    std: float = 0.5
    d: int = 6

    def __post_init__(self) -> None:
        self.w = torch.linalg.qr(torch.randn(self.d, len(self.lengths), dtype=torch.float64)).Q * self.lengths
        self.m = torch.randn(self.d, dtype=torch.float64)
        self.a = self.w.T / (self.lengths**2 + self.std**2)[:, None]
        self.b = -self.a @ self.m
        self.v = self.std**2 / (self.lengths**2 + self.std**2)
        self.covariance = self.w @ self.w.T + self.std**2 * torch.eye(self.d, dtype=torch.float64)

    @property
    def kl(self) -> Tensor:
        """The mean KL of each dimension, which is also its mutual information with x: half log(1 + w² / s²)."""
        return 0.5 * (1 + self.lengths**2 / self.std**2).log()

    def log_p(self, x: Tensor) -> Tensor:
        return MultivariateNormal(self.m, self.covariance).log_prob(x)

    def posterior(self, x: Tensor, stretch: float = 1.0, shift: float = 0.0) -> distributions.Distribution:
        return distributions.normal(x @ self.a.T + self.b + shift, (self.v.sqrt() * stretch).expand(len(x), -1))

    def prior(self, n: int) -> distributions.Distribution:
        zero = torch.zeros(n, len(self.lengths), dtype=torch.float64)
        return distributions.normal(zero, torch.ones_like(zero))

    def vae(self, stretch: float = 1.0, shift: float = 0.0) -> vaekit.VAE:
        """The model in parts, with an encoder that is off by a shift of the mean and a factor on the deviation."""
        features = len(self.lengths)
        model, _ = vaekit.build(
            vaekit.Config(
                data_shape=(self.d,),
                encoder={"name": "mlp", "hidden": []},
                latent={"name": "gaussian", "features": features},
                decoder={"name": "mlp", "hidden": []},
                likelihood={"name": "gaussian", "variance": "fixed", "std": self.std},
            )
        )
        model.double().eval()
        with torch.no_grad():
            model.latent.head.weight.copy_(torch.cat([self.a, torch.zeros_like(self.a)]))
            model.latent.head.bias.copy_(torch.cat([self.b + shift, (self.v * stretch**2).log()]))
            model.decoder.head.weight.copy_(self.w)
            model.decoder.head.bias.copy_(self.m)
        return model


LENGTHS = torch.tensor([2.0, 0.6, 0.08, 0.0], dtype=torch.float64)  # far in use; in use; active, but for 0.013 nats; unused


@pytest.fixture
def linear() -> Linear:
    return Linear(LENGTHS)


def test_an_exact_encoder_has_no_gap(linear: Linear) -> None:
    model, x = linear.vae(), _exact(2000, linear.m, linear.covariance)
    with torch.no_grad():
        trace = model(x, model.context(None, len(x)), samples=3)
        torch.testing.assert_close(trace.log_weight(), linear.log_p(x).expand(3, -1), rtol=0, atol=1e-9)
    terms = evaluation.bound(model, [x])
    assert terms["nelbo"] == pytest.approx(-linear.log_p(x).mean().item(), abs=0.1)
    assert model.log_likelihood(x, k=1).mean().item() == pytest.approx(linear.log_p(x).mean().item(), abs=1e-9)


def test_the_importance_weighted_bound_tightens_to_log_p(linear: Linear) -> None:
    model, x = linear.vae(stretch=1.2, shift=0.1), _exact(400, linear.m, linear.covariance)
    truth = linear.log_p(x).mean().item()
    bounds = [model.log_likelihood(x, k=k).mean().item() for k in (1, 5, 50, 10_000)]
    gap = distributions.kl(linear.posterior(x, 1.2, 0.1), linear.posterior(x)).mean().item()
    assert bounds[0] == pytest.approx(truth - gap, abs=0.15)
    assert bounds == sorted(bounds)
    assert bounds[1] < truth - 0.02
    assert bounds[-1] == pytest.approx(truth, abs=1e-3)


def test_kl_and_variance_of_each_dimension(linear: Linear) -> None:
    n = 1000
    x = _exact(n, linear.m, linear.covariance * n / (n - 1))  # so that means over the n are those over p(x)
    site = linear.vae()(x, torch.zeros(n, 0, dtype=torch.float64)).draw.sites[0]
    kl = latents.kl_units(site.kl_dims())
    torch.testing.assert_close(kl.values, linear.kl, rtol=0, atol=1e-9)
    assert (kl.count, kl.threshold) == (2, 0.1)
    active = latents.active_units(site.q.mean)
    torch.testing.assert_close(active.values, LENGTHS**2 / (LENGTHS**2 + 0.25), rtol=0, atol=1e-9)
    assert (active.count, active.threshold) == (3, 0.01)
    assert latents.active_units(site.q.mean, 0.5).count == 2
    values = active.values
    assert latents.effective_dimension(site.q.mean) == pytest.approx((values.sum() ** 2 / (values**2).sum()).item(), rel=1e-9)


@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 0.0), (0.7, 0.0), (1.0, 0.5), (1.3, -0.3)])
def test_information_of_a_known_encoder(linear: Linear, stretch: float, shift: float) -> None:
    n = 4000
    q = linear.posterior(_exact(n, linear.m, linear.covariance), stretch, shift)
    got = latents.information(q, linear.prior(n), q.sample())
    noise = linear.v * stretch**2
    total = 1 - linear.v + noise  # the variance of q(z), which is normal with mean `shift`
    mutual = 0.5 * (total / noise).log().sum().item()
    aggregated = 0.5 * (total + shift**2 - 1 - total.log()).sum().item()
    assert got.mutual == pytest.approx(mutual, abs=0.05)
    assert got.aggregated_kl == pytest.approx(aggregated, abs=0.05)
    assert got.kl == pytest.approx(distributions.kl(q, linear.prior(n)).mean().item(), abs=0.1)
    assert (got.examples, got.saturated) == (n, False)


def test_information_is_capped_by_log_n_and_says_so() -> None:
    linear = Linear(torch.full((6,), 3.0, dtype=torch.float64))
    truth, found = linear.kl.sum().item(), []
    assert truth > 10
    for n in (50, 500, 2000):
        q = linear.posterior(_exact(n, linear.m, linear.covariance))
        got = latents.information(q, linear.prior(n), q.sample())
        assert got.saturated
        assert math.log(n) - 1 < got.mutual <= math.log(n)
        assert got.kl == pytest.approx(truth, abs=1)
        assert got.aggregated_kl > 2  # of which all is error: the truth is 0
        found.append(got.mutual)
    assert found == sorted(found)


def test_information_where_nothing_is_encoded() -> None:
    q = Linear(torch.zeros(3, dtype=torch.float64)).prior(100)
    got = latents.information(q, q, q.sample())
    assert (got.mutual, got.aggregated_kl) == pytest.approx((0, 0), abs=1e-12)


def test_information_of_posteriors_that_are_not_diagonal_gaussians(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    mean, scale = torch.randn(n, 6), torch.rand(n, 6) + 0.2
    z = mean + scale * torch.randn(n, 6)
    flat = latents.information(distributions.normal(mean, scale), distributions.normal(mean * 0, scale / scale), z)
    full = distributions.multivariate_normal(mean, torch.diag_embed(scale)), MultivariateNormal(torch.zeros(6), torch.eye(6))
    grid = (distributions.normal(a.reshape(n, 2, 3), b.reshape(n, 2, 3)) for a, b in ((mean, scale), (mean * 0, scale / scale)))
    for q, p, draws in ((*full, z), (*grid, z.reshape(n, 2, 3))):
        got = latents.information(q, p, draws)
        assert (got.mutual, got.aggregated_kl) == pytest.approx((flat.mutual, flat.aggregated_kl), abs=1e-5)
    monkeypatch.setattr(latents, "_ELEMENTS_AT_ONCE", 1000)
    again = latents.information(distributions.normal(mean, scale), distributions.normal(mean * 0, scale / scale), z)
    assert (again.mutual, again.aggregated_kl) == pytest.approx((flat.mutual, flat.aggregated_kl), abs=1e-12)


def test_information_of_discrete_latents_is_exact() -> None:
    codes = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    entropy = Categorical(torch.tensor([4.0, 2, 1, 1])).entropy().item()
    uniform = Categorical(torch.ones(4))
    got = latents.information(
        distributions.PointMass(codes[:, None]), Independent(Categorical(torch.ones(1, 4)), 1), codes[:, None]
    )
    assert (got.mutual, got.aggregated_kl) == pytest.approx((entropy, math.log(4) - entropy), abs=1e-6)
    q = Categorical(logits=2 * torch.randn(3000, 4))
    exact = Categorical(q.probs.mean(0)).entropy().item() - q.entropy().mean().item()
    got = latents.information(q, uniform, q.sample())
    assert got.mutual == pytest.approx(exact, abs=0.05)


def test_information_keeps_no_graph() -> None:
    mean = torch.randn(10, 2, requires_grad=True)
    q = distributions.normal(mean, torch.ones(10, 2))
    assert isinstance(latents.information(q, q, q.rsample()).mutual, float)


def _clusters(n: int, apart: float) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 3
    return torch.eye(4)[labels] * apart + torch.randn(n, 4) * torch.tensor([1.0, 1, 1, 0]), labels


def test_a_probe_reads_what_is_there_and_no_more() -> None:
    means, labels = _clusters(600, apart=12)
    far = latents.linear_probe(means[:300], labels[:300], means[300:], labels[300:])
    assert far == latents.Probe(accuracy=1.0, commonest=100 / 300, trained=300, tested=300)
    labels = (torch.rand(4000) < 0.2).long()
    noise = torch.randn(4000, 4)
    chance = latents.linear_probe(noise[:2000], labels[:2000], noise[2000:], labels[2000:])
    assert chance.commonest == pytest.approx((labels[2000:] == 0).double().mean().item())
    assert chance.accuracy == pytest.approx(chance.commonest, abs=0.01)


def test_a_probe_nears_the_best_classifier_and_does_not_depend_on_the_scale() -> None:
    labels = torch.arange(8000) % 2
    means = torch.randn(8000, 2, dtype=torch.float64) + labels[:, None] * torch.tensor([2.0, 0.0])
    halves = means[:4000], labels[:4000], means[4000:], labels[4000:]
    got = latents.linear_probe(*halves)
    best = 0.5 * (1 + math.erf(1 / math.sqrt(2)))  # halfway between two means that are two deviations apart
    assert got.accuracy == pytest.approx(best, abs=0.02)
    assert latents.linear_probe(*halves) == got
    stretch = torch.tensor([1e4, 1e-4])
    assert latents.linear_probe(halves[0] * stretch + 5, halves[1], halves[2] * stretch + 5, halves[3]) == got


def test_effective_dimension_of_what_is_known() -> None:
    assert latents.effective_dimension(_exact(100, torch.zeros(5), torch.eye(5).double())) == pytest.approx(5, rel=1e-9)
    line = torch.randn(100, 1) * torch.tensor([[1.0, -2.0, 0.5]])
    assert latents.effective_dimension(line) == pytest.approx(1, rel=1e-6)
    assert latents.effective_dimension(torch.ones(10, 3)) == 0


# What is refused


X, BAD = torch.full((2, 1, 12, 12), 0.5), torch.full((2, 1, 12, 12), math.nan)
M, Y = torch.arange(8.0).reshape(4, 2), torch.tensor([0, 1, 0, 1])
NORMAL = distributions.normal(M, torch.ones(4, 2))
REFUSED = {
    "shapes that differ": (lambda: images.mse(X, X[:1]), r"mse compares tensors of one shape; these are \(2, 1, 12, 12\) and"),
    "no images": (lambda: images.psnr(X[:0], X[:0]), r"psnr is of examples \(N, \*data_shape\); there are none"),
    "a number": (lambda: images.squared_error(X.sum(), X.sum()), r"there are none in a tensor of shape \(\)"),
    "bytes": (lambda: images.mse(X.byte(), X), r"x is of torch.uint8; give floats in \[0, 1\], of bytes x / 255"),
    "nan": (lambda: images.ssim(X, BAD), "ssim: reconstructed holds values that are not finite"),
    "not in [0, 1]": (lambda: images.psnr(X * 255, X), r"x is in \[127.5, 127.5\]: rescale both, or use mse"),
    "negative": (lambda: images.ssim(X - 1, X), r"ssim is of data in \[0, 1\], and x is in \[-0.5, -0.5\]"),
    "a sequence": (lambda: images.ssim(X[:, 0], X[:, 0]), r"data of shape \(2, 12, 12\) have none: leave it out"),
    "small images": (lambda: images.ssim(X[..., :8], X[..., :8]), "these images are 12 x 8: give window=7, and name it"),
    "smaller still": (lambda: images.ssim(X[..., :2], X[..., :2]), "these images are 12 x 2: leave it out"),
    "an even window": (lambda: images.ssim(X, X, 8), "the window of ssim is 8: its width is an odd number"),
    "few for a covariance": (lambda: fidelity.frechet_distance(M, M[:2]), "2 generated examples are too few .* at least 3,"),
    "no features": (lambda: fidelity.frechet_distance(M[:0], M), r"real has shape \(0, 2\)"),
    "pictures as features": (lambda: fidelity.precision_recall(M, X), r"generated has shape \(2, 1, 12, 12\): flatten it"),
    "infinite features": (lambda: fidelity.kernel_distance(M, M / 0), "generated holds features that are not finite"),
    "features of two kinds": (lambda: fidelity.kernel_distance(M, M[:, :1]), "2 real and 1 generated features: take both from"),
    "few neighbours": (
        lambda: fidelity.precision_recall(M, M, 4),
        "4 real examples have no 4 neighbours each: give at least 5",
    ),
    "no neighbours": (lambda: fidelity.precision_recall(M, M, 0), "neighbours is 0"),
    "one for a kernel": (lambda: fidelity.kernel_distance(M, M[:1]), "4 real and 1 generated examples: give at least 2"),
    "one mean": (lambda: latents.active_units(M[:1]), "active_units: there are 1 means: give at least 2"),
    "a grid of means": (lambda: latents.effective_dimension(X), r"shape \(2, 1, 12, 12\): of a grid, give flatten\(1\)"),
    "no kl": (lambda: latents.kl_units(M[:0]), "kl_units: there are 0 kl_dims: give at least 1"),
    "nan kl": (lambda: latents.kl_units(M * math.nan), "kl_dims hold values that are not finite"),
    "draws on an axis": (
        lambda: latents.information(NORMAL, NORMAL, M[None]),
        r"z has shape \(1, 4, 2\); of draws .* give z\[0\]",
    ),
    "a foreign draw": (
        lambda: latents.information(distributions.PointMass(M), NORMAL, M.flip(0)),
        r"log q\(z \| x\) is not finite at 4 of 4 z: each must be a draw from its own",
    ),
    "outside the prior": (
        lambda: latents.information(NORMAL, distributions.PointMass(M + 1), M),
        r"log p\(z\) is not finite at 4 of 4 z",
    ),
    "one posterior": (lambda: latents.information(distributions.PointMass(M[:1]), NORMAL, M[:1]), "there are 1 examples"),
    "one class": (lambda: latents.linear_probe(M, Y * 0, M, Y), "all labels are 0: there is nothing to tell apart"),
    "labels that are floats": (lambda: latents.linear_probe(M, Y / 2, M, Y), "are of torch.float32: give 4 whole numbers"),
    "labels for others": (lambda: latents.linear_probe(M, Y, M, Y[:2]), r"test_labels have shape \(2,\)"),
    "means of two kinds": (lambda: latents.linear_probe(M, Y, M[:, :1], Y), "means have 2 dimensions and test_means 1"),
    "no test": (lambda: latents.linear_probe(M, Y, M[:0], Y[:0]), "there are 0 test_means: give at least 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(vaekit.DataError, match=message):
        call()
