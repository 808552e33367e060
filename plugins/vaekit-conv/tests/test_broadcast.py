"""The spatial broadcast decoder keeps every promise of its interface, and computes what it stands for."""

import pytest
import torch
import torch.nn.functional as F
from vaekit_conv import SpatialBroadcastDecoder

import vaekit
from vaekit.testing import parametrize_with_checks

SHAPES = [(3, 7, 5), (1, 1, 1), (2, 1, 9)]


@parametrize_with_checks(
    [
        (SpatialBroadcastDecoder, {"width": 4}),
        (SpatialBroadcastDecoder, {"width": 4, "depth": 2, "kernel": 5, "norm": "batch", "activation": "silu"}),
    ],
    shapes=SHAPES,
)
def test_conformance(check) -> None:
    check()


def test_the_first_layer_is_a_convolution_of_a_tiled_latent() -> None:
    """Without padding, over z, c and the places in and around the image, as the paper has it."""
    height, width, out = 5, 7, 4
    part = SpatialBroadcastDecoder((2,), (1, height, width), 3, width=out, depth=1, kernel=3).double()
    whole = torch.nn.Conv2d(2 + 3 + 2, out, 3).double()
    z, c = torch.randn(6, 2).double(), torch.randn(6, 3).double()
    rows, columns = ((2 * torch.arange(-1, n + 1).double() + 1) / n - 1 for n in (height, width))
    tiled = torch.cat([z, c], 1)[:, :, None, None].expand(-1, -1, height + 2, width + 2)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(6, -1, -1, -1)
    wanted = whole(torch.cat([tiled, places], 1))
    with torch.no_grad():
        summed = whole.weight.sum((2, 3))
        part.latent.weight.copy_(summed[:, :5])
        part.place.weight.copy_(summed[:, 5:, None, None])
        at_centre = whole.bias + (whole.weight[:, 5, 2] - whole.weight[:, 5, 0]).sum(1) * 2 / height
        part.latent.bias.copy_(at_centre + (whole.weight[:, 6, :, 2] - whole.weight[:, 6, :, 0]).sum(1) * 2 / width)
    torch.testing.assert_close(part.layers[-1](wanted.relu()), part(z, c))


def test_places_go_evenly_from_corner_to_corner() -> None:
    places = SpatialBroadcastDecoder((2,), (1, 3, 4), 0).places[0]
    torch.testing.assert_close(places[0], torch.tensor([-2 / 3, 0.0, 2 / 3])[:, None].expand(3, 4))
    torch.testing.assert_close(places[1], torch.tensor([-0.75, -0.25, 0.25, 0.75]).expand(3, 4))
    assert (SpatialBroadcastDecoder((2,), (1, 1, 1), 0).places == 0).all()


def test_it_learns_where_things_are() -> None:
    """A spot moves with z: what a decoder must know of places for."""
    part = SpatialBroadcastDecoder((2,), (1, 8, 8), 0, width=16, depth=2)
    optimizer = torch.optim.Adam(part.parameters(), 0.01)
    z = torch.rand(256, 2) * 2 - 1
    far = (part.places - z[:, :, None, None]).square().sum(1, keepdim=True)
    x = (-4 * far).exp()
    c = torch.zeros(256, 0)
    for _ in range(100):
        loss = F.mse_loss(part(z, c), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * x.var()


@pytest.mark.parametrize("shape", [(5,), (4, 6)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(vaekit.ShapeError, match="it is for images"):
        SpatialBroadcastDecoder((2,), shape, 0)
