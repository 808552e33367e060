"""The autoregressive likelihood: causal, normalised, and it draws what it scores."""

from typing import Any

import pytest
import torch
from vaekit_likelihoods import PixelCNN

import vaekit
from vaekit.testing import parametrize_with_checks

TINY: dict[str, Any] = {"width": 4, "depth": 1, "kernel": 3}


SHAPES = [(3, 3, 2), (1, 1, 1), (6, 4), (5,)]


@parametrize_with_checks([(PixelCNN, TINY)], shapes=SHAPES)
def test_conformance(check) -> None:
    check()


OTHERWISE = [
    (PixelCNN, {**TINY, "output": "categorical", "levels": 3}),
    (PixelCNN, {**TINY, "output": "logistic-mixture", "levels": 4, "components": 2}),
]


@parametrize_with_checks(OTHERWISE, shapes=SHAPES, without=["imports-cleanly", "compiles", *PixelCNN.expected_failures])
def test_conformance_in_other_ways(check) -> None:
    check()


def _wild(part: PixelCNN) -> PixelCNN:
    """With weights so large that every dependence shows."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.copy_(torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
    return part.double()


OUTPUTS: list[dict[str, Any]] = [
    {},
    {"output": "categorical", "levels": 5},
    {"output": "logistic-mixture", "levels": 9, "components": 2},
]


@pytest.mark.parametrize("options", OUTPUTS, ids=str)
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4)])
def test_no_number_depends_on_itself_or_a_later_one(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    part = _wild(PixelCNN(shape, width=8, depth=2, kernel=5, **options))
    channels = shape[0]
    theta = torch.randn(1, *part.in_shape).double()
    x = part(theta).sample().requires_grad_()
    told = part.net.told(theta)
    parameters = part.net(x, told).unflatten(1, (channels, -1))
    reached = 0
    for row in range(shape[1]):
        for column in range(shape[2]):
            for channel in range(channels):
                (grad,) = torch.autograd.grad(parameters[0, channel, :, row, column].sum(), x, retain_graph=True)
                place = (row * shape[2] + column) * channels + channel
                order = grad[0].permute(1, 2, 0).flatten()
                assert (order[place:] == 0).all()
                reached += int((order[:place] != 0).any())
    assert reached > 0.6 * x.numel()


def test_within_a_pixel_green_sees_red_and_blue_sees_both() -> None:
    part = _wild(PixelCNN((3, 1, 1), width=48, depth=1))
    x = torch.rand(1, 3, 1, 1).double().requires_grad_()
    parameters = part.net(x, part.net.told(torch.randn(1, *part.in_shape).double()))
    seen = torch.stack([torch.autograd.grad(parameters[0, c, 0, 0], x, retain_graph=True)[0].flatten() for c in range(3)])
    assert torch.equal(seen != 0, torch.ones(3, 3).tril(-1) > 0)


@pytest.mark.parametrize(
    ("shape", "options", "levels"),
    [((1, 2, 2), {}, 2), ((3, 1, 2), {}, 2), ((1, 2, 2), OUTPUTS[1], 5), ((2, 1, 2), OUTPUTS[2], 9)],
)
def test_it_is_normalised_and_draws_what_it_scores(shape: tuple[int, int, int], options: dict[str, Any], levels: int) -> None:
    torch.manual_seed(1)
    part = _wild(PixelCNN(shape, width=8, depth=2, **options))
    theta = torch.randn(1, *part.in_shape).double()
    numbers = torch.Size(shape).numel()
    values = torch.linspace(0, 1, levels).double()
    images = torch.cartesian_prod(*[values] * numbers).reshape(-1, 1, *shape)
    with torch.no_grad():
        mass = part(theta).log_prob(images)[:, 0].exp()
    assert mass.sum().item() == pytest.approx(1, abs=1e-9)
    n = 40_000
    index = (part(theta).sample((n,)).reshape(n, -1) * (levels - 1)).round().long()
    place = index @ levels ** torch.arange(numbers - 1, -1, -1)
    seen = torch.bincount(place, minlength=len(images)) / n
    error = (mass * (1 - mass) / n).sqrt()
    assert ((seen - mass).abs() < 5.5 * error + 1e-4).all()


@pytest.mark.parametrize("options", OUTPUTS, ids=str)
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 3), (2, 1, 6)])
def test_what_a_draw_follows_is_what_log_prob_takes(options: dict[str, Any], shape: tuple[int, int, int]) -> None:
    """Every number's parameters, as a draw meets them one by one, are those of one pass over the finished image."""
    part = _wild(PixelCNN(shape, width=6, depth=2, kernel=7, **options))
    theta = torch.randn(2, *part.in_shape).double()
    met: list[torch.Tensor] = []

    def listening(parameters: torch.Tensor) -> Any:
        met.append(parameters.flatten(1))
        return head(parameters)

    p = part(theta)
    head, p.head = p.head, listening
    image = p.sample()
    passed = part.net(image, part.net.told(theta)).unflatten(1, (shape[0], -1))  # (N, C, numbers, H, W)
    torch.testing.assert_close(torch.stack(met, 1), passed.permute(0, 3, 4, 1, 2).flatten(1, 3))


def test_theta_says_something_of_every_pixel_and_only_of_the_near() -> None:
    part = _wild(PixelCNN((1, 5, 5), width=4, depth=1, kernel=3))
    theta = torch.randn(1, *part.in_shape).double().requires_grad_()
    x = part(theta).sample()
    parameters = part.net(x, part.net.told(theta))
    (grad,) = torch.autograd.grad(parameters[0, 0, 2, 2], theta)
    assert (grad[0, :, 2, 2] != 0).all()
    assert (grad[0, :, 3:] == 0).all()


def test_it_learns_what_independent_pixels_cannot() -> None:
    """Images of one colour, all black or all white, with a θ that does not say which: one bit each."""
    torch.manual_seed(0)
    part = PixelCNN((1, 3, 3), width=8, depth=1, kernel=3)
    x = (torch.rand(64, 1, 1, 1) < 0.5).float().expand(-1, 1, 3, 3)
    theta = torch.zeros(64, 8, 3, 3)
    optimizer = torch.optim.Adam(part.parameters(), 0.03)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -part(theta).log_prob(x).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.0  # log 2 = 0.69, where independent pixels have 9 log 2 = 6.2
    with torch.no_grad():
        draws = part(theta).sample().flatten(1)
    assert (draws == draws[:, :1]).all(1).double().mean() > 0.9


@pytest.mark.parametrize("depth", [0, 2, 16])
@pytest.mark.parametrize("kernel", [3, 7])
def test_every_number_begins_with_a_view_of_those_before_it(depth: int, kernel: int) -> None:
    """Masks leave few inputs; what is made of them must neither vanish nor explode, however deep the net."""
    part = PixelCNN((1, 12, 12), width=32, depth=depth, kernel=kernel)
    x = (torch.rand(64, 1, 12, 12) < 0.5).float()
    logits = part.net(x, torch.zeros(64, 32, 12, 12))[:, 0, 6, 6]
    assert 0.3 < logits.std().item() < 4


def test_it_learns_faster_than_independent_pixels_where_neighbours_are_alike() -> None:
    rows = torch.rand(512, 1, 8, 1) < 0.5
    x = (rows ^ (torch.rand(512, 1, 8, 8) < 0.05)).float()
    found = {}
    for likelihood in ("bernoulli", "pixelcnn"):
        torch.manual_seed(0)
        model, loss = vaekit.build(vaekit.Config(data_shape=(1, 8, 8), likelihood=likelihood))
        list(vaekit.train(model, loss, list(x.split(64)), epochs=4))
        found[likelihood] = loss(model.eval(), x, x.new_zeros(512, 0)).parts["nelbo"].item()
    assert found["pixelcnn"] < found["bernoulli"] - 10


def test_it_has_no_mean_and_says_so() -> None:
    part = PixelCNN((1, 2, 2), **TINY)
    with pytest.raises(NotImplementedError):
        _ = part(torch.zeros(1, *part.in_shape)).mean
    assert part.exact


@pytest.mark.parametrize("shape", [(6, 4), (5,)])
def test_only_images_are_taken(shape: tuple[int, ...]) -> None:
    with pytest.raises(vaekit.ShapeError, match="it is for images"):
        PixelCNN(shape)
