"""Multi-scale structural similarity against one computed window by window, and its place in a loss."""

import math

import pytest
import torch
from torch import Tensor
from vaekit_losses import MSSSIM
from vaekit_losses.similarity import EXPONENTS, ms_ssim, scales_of

import vaekit


def _ssim(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Luminance times contrast times structure, and the last two alone, over all windows of one channel (H, W)."""
    size = min(11, *x.shape)
    at = [i - (size - 1) / 2 for i in range(size)]
    window = torch.tensor([[math.exp(-(a * a + b * b) / (2 * 1.5**2)) for b in at] for a in at]).double()
    window /= window.sum()
    whole, structure = [], []
    for i in range(x.shape[0] - size + 1):
        for j in range(x.shape[1] - size + 1):
            a, b = x[i : i + size, j : j + size], y[i : i + size, j : j + size]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            structure.append((2 * both + 0.03**2) / (var_a + var_b + 0.03**2))
            whole.append((2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2) * structure[-1])
    return torch.stack(whole).mean().item(), torch.stack(structure).mean().item()


def _halved(x: Tensor) -> Tensor:
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    return (x[:h:2, :w:2] + x[1:h:2, :w:2] + x[:h:2, 1:w:2] + x[1:h:2, 1:w:2]) / 4


def _reference(x: Tensor, y: Tensor, scales: int) -> float:
    """Of images (C, H, W), the mean over channels."""
    found = []
    for a, b in zip(x, y, strict=True):
        product = 1.0
        for scale in range(scales):
            whole, structure = _ssim(a, b)
            product *= (whole if scale == scales - 1 else structure) ** (EXPONENTS[scale] / sum(EXPONENTS[:scales]))
            a, b = _halved(a), _halved(b)
        found.append(product)
    return sum(found) / len(found)


def _alike(n: int, *shape: int) -> tuple[Tensor, Tensor]:
    """Smooth images, and the same with noise."""
    rows, columns = (torch.linspace(0, 5, size).double() for size in shape[1:])
    x = 0.5 + 0.4 * torch.sin(rows[:, None] * torch.rand(n, shape[0], 1, 1) * 2 + columns + torch.rand(n, shape[0], 1, 1) * 6)
    return x, (x + 0.15 * torch.randn_like(x)).clamp(0, 1)


@pytest.mark.parametrize(("shape", "scales"), [((1, 8, 8), 1), ((3, 7, 5), 1), ((2, 23, 26), 2), ((1, 45, 47), 3)])
def test_it_is_what_windows_give_one_by_one(shape: tuple[int, ...], scales: int) -> None:
    x, y = _alike(2, *shape)
    wanted = torch.tensor([_reference(a, b, scales) for a, b in zip(x, y, strict=True)]).double()
    torch.testing.assert_close(ms_ssim(x, y), wanted)
    torch.testing.assert_close(ms_ssim(x.float(), y.float()).double(), wanted, atol=1e-3, rtol=0)
    assert (wanted < 0.99).all()


def test_scales_shrink_as_the_docstring_says() -> None:
    for scales, sides in {1: (1, 21), 2: (22, 43), 3: (44, 87), 4: (88, 175), 5: (176, 2000)}.items():
        for side in sides:
            assert scales_of(side, 2000) == scales_of(2000, side) == scales


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (3, 28, 28)])
def test_it_is_one_for_the_same_and_symmetric_and_falls_with_noise(shape: tuple[int, ...]) -> None:
    x, y = _alike(4, *shape)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(4).double())
    torch.testing.assert_close(ms_ssim(x, y), ms_ssim(y, x))
    noise = 0.2 * torch.randn_like(x)
    less, more = (ms_ssim(x, x + times * noise) for times in (0.5, 1))
    assert (more < less).all()
    assert (less < 1).all()


def test_opposite_and_empty_images_have_finite_gradients() -> None:
    x = torch.rand(1, 1, 28, 28)
    for one, other in ((x, 1 - x), (torch.zeros_like(x), torch.zeros_like(x)), (torch.zeros_like(x), x)):
        y = other.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(ms_ssim(one, y).sum(), y)
        assert gradient.isfinite().all()


def test_each_image_counts_for_itself() -> None:
    x, y = _alike(6, 1, 28, 28)
    alone = torch.cat([ms_ssim(x[i : i + 1], y[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(ms_ssim(x, y), alone)


def test_the_loss_is_the_elbo_and_the_weighted_mean_over_images() -> None:
    model, _ = vaekit.build(vaekit.Config(data_shape=(1, 12, 12), likelihood="bernoulli"))
    x = torch.rand(6, 1, 12, 12).round()
    torch.manual_seed(0)
    terms = MSSSIM((1, 12, 12), model.latent.root, 64, weight=30.0)(model, x, x.new_zeros(6, 0))
    torch.manual_seed(0)
    trace = model(x, x.new_zeros(6, 0))
    similarity = ms_ssim(x, trace.px.mean)
    torch.testing.assert_close(terms.loss, (-trace.elbo() + 30 * (1 - similarity)).mean())
    torch.testing.assert_close(terms.parts["nelbo"], -trace.elbo().mean().detach())
    torch.testing.assert_close(terms.parts["ms_ssim"], similarity.mean().detach())


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(vaekit.ShapeError, match="it compares images"):
        MSSSIM((5,), vaekit.Space((2,)), 64)
