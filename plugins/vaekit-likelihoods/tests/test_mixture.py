"""The mixture of discretized logistics: one component is the plain one, coupled channels are normalised together."""

import math

import pytest
import torch
from torch import Tensor
from vaekit_likelihoods import DiscretizedLogistic, DiscretizedLogisticMixture

import vaekit
from vaekit.testing import parametrize_with_checks


@parametrize_with_checks([DiscretizedLogisticMixture, (DiscretizedLogisticMixture, {"components": 2, "levels": 5})])
def test_conformance(check) -> None:
    check()


@parametrize_with_checks(
    [(DiscretizedLogisticMixture, {"coupled": True, "components": 2})],
    shapes=[(3, 3, 2)],
    expected_failures={"mean-matches-samples": "clipping bends what each channel adds to the next: no closed mean"},
)
def test_conformance_of_coupled(check) -> None:
    check()


def test_one_component_is_a_discretized_logistic() -> None:
    mixture = DiscretizedLogisticMixture((2, 4, 3), components=1)
    plain = DiscretizedLogistic((2, 4, 3), scale="predicted")
    theta = torch.randn(5, 6, 4, 3)
    apart = theta.unflatten(1, (2, 3))  # of each channel: the weight, which is of one alone, location and scale
    single = torch.stack([apart[:, :, 1] + 0.5, apart[:, :, 2]], 2).flatten(1, 2)
    x = torch.randint(256, (5, 2, 4, 3)) / 255
    torch.testing.assert_close(mixture(theta).log_prob(x), plain(single).log_prob(x))
    torch.testing.assert_close(mixture(theta).mean, plain(single).mean)


def test_it_is_the_mixture_of_its_components() -> None:
    part = DiscretizedLogisticMixture((1,), components=3, levels=8).double()
    theta = torch.randn(4, 9).double()
    logits, loc, raw = theta.chunk(3, 1)
    scale = 1e-4 + torch.nn.functional.softplus(raw + math.log(math.expm1(0.1 - 1e-4)))
    edges = (torch.arange(1, 8).double() - 0.5) / 7
    loc = loc + (torch.arange(3) + 0.5) / 3
    cdf = torch.sigmoid((edges - loc[..., None]) / scale[..., None])
    each = torch.cat([cdf, torch.ones(4, 3, 1)], 2).diff(dim=2, prepend=torch.zeros(4, 3, 1))
    want = (logits.softmax(1)[..., None] * each).sum(1)
    got = torch.stack([part(theta).log_prob(torch.full((4, 1), k / 7).double()).exp() for k in range(8)], 1)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(part(theta).mean[:, 0], want @ torch.linspace(0, 1, 8).double())


def _all_pixels(levels: int) -> Tensor:
    values = torch.linspace(0, 1, levels).double()
    return torch.cartesian_prod(values, values, values).reshape(-1, 1, 3, 1, 1)


def test_coupled_channels_are_normalised_and_drawn_together() -> None:
    part = DiscretizedLogisticMixture((3, 1, 1), components=2, levels=4, coupled=True).double()
    p = part(torch.randn(1, 20, 1, 1).double())
    pixels = _all_pixels(4)
    mass = p.log_prob(pixels)[:, 0].exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    draws = p.sample((40_000,))[:, 0].flatten(1)
    index = (draws * 3).round().long() @ torch.tensor([16, 4, 1])
    seen = torch.bincount(index, minlength=64) / 40_000
    error = (mass * (1 - mass) / 40_000).sqrt()
    assert ((seen - mass).abs() < 5 * error + 1e-4).all()
    channels = (mass[:, None] * pixels.flatten(1)).sum(0)
    torch.testing.assert_close(p.mean.flatten()[0], channels[0])
    assert (p.mean.flatten() - channels).abs().max() < 0.1  # clipping is what it leaves out


def test_coupled_channels_depend_on_those_before_linearly() -> None:
    part = DiscretizedLogisticMixture((3, 1, 1), components=1, coupled=True).double()
    theta = torch.zeros(1, 10, 1, 1).double()
    alone = part(theta.clone())
    theta[:, 1 + 2], theta[:, 4 + 2], theta[:, 7 + 2] = 0.4, -0.2, 0.6  # the slopes are the last of each channel's three
    together = part(theta)
    x = torch.randint(256, (200, 1, 3, 1, 1)).double() / 255
    r, g, b = x.unbind(2)
    shifted = torch.stack([r, g - 0.4 * (r - 0.5), b + 0.2 * (r - 0.5) - 0.6 * (g - 0.5)], 2)
    inner = ((shifted > 0.01) & (shifted < 0.99) & (x > 0) & (x < 1)).all(2).flatten()
    z = (shifted - 0.5) / 0.1
    want = (-z - 2 * torch.nn.functional.softplus(-z) - math.log(0.1 * 255)).sum((2, 3, 4))[:, 0]
    got = together.log_prob(x)[:, 0]
    torch.testing.assert_close(got[inner], want[inner], atol=2e-3, rtol=0)
    assert not torch.allclose(got, alone.log_prob(x)[:, 0])


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("size", [0.0, 30.0, 1e4])
def test_extreme_parameters_give_finite_values_and_gradients(coupled: bool, size: float) -> None:
    part = DiscretizedLogisticMixture((3, 2, 2), coupled=coupled)
    theta = (size * torch.randn(6, *part.in_shape)).requires_grad_()
    x = torch.randint(256, (6, 3, 2, 2)) / 255
    x[0], x[1] = 0, 1
    log_p = part(theta).log_prob(x)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    assert (log_p <= 1e-4).all()
    assert theta.grad.isfinite().all()
    assert part(theta).mean.isfinite().all()
    assert part.support.check(part(theta).sample()).all()


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4, 4), (3, 5), (3,)])
def test_only_three_channels_are_coupled(shape: tuple[int, ...]) -> None:
    with pytest.raises(vaekit.ShapeError, match="coupled is for images"):
        DiscretizedLogisticMixture(shape, coupled=True)
