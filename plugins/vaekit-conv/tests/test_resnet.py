"""The residual parts keep every promise of their interfaces, and fit images of any size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vaekit_conv import ConvEncoder, ResNetDecoder, ResNetEncoder
from vaekit_conv.residual import Enlarge, ResidualBlock

import vaekit
from vaekit.testing import parametrize_with_checks

SHAPES = [(1, 8, 8), (3, 7, 5), (1, 1, 1), (2, 1, 9), (1, 5, 9), (1, 28, 28)]
STAGES = [{}, {"depth": 3}, {"channels": (4, 6), "strides": (3, 4)}, {"depth": 1, "blocks": 3}]


@parametrize_with_checks(
    [
        (ResNetEncoder, {"width": 4}),
        (ResNetEncoder, {"width": 4, "depth": 1, "blocks": 2, "norm": "batch", "join": "features"}),
        (ResNetDecoder, {"width": 4}),
        (ResNetDecoder, {"channels": (4, 6), "strides": (1, 3), "norm": "none"}),
    ],
    shapes=SHAPES[1:4],
)
def test_conformance(check) -> None:
    check()


@parametrize_with_checks([(ResNetDecoder, {"width": 4, "upsample": "nearest"})], shapes=[(1, 5, 9)])
def test_conformance_of_a_decoder_of_grids(check) -> None:
    """The suite has grids of 2 by 3, which is what (5, 9) is halved to twice."""
    check()


@pytest.mark.parametrize("upsample", ["subpixel", "nearest"])
@pytest.mark.parametrize("stages", STAGES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_is_halved_and_comes_back(shape: tuple[int, ...], stages: dict, upsample: str) -> None:
    encoder = ResNetEncoder(shape, 0, **{"width": 4, **stages})
    c = torch.zeros(2, 0)
    h = encoder(torch.rand(2, *shape), c)
    blockless = {name: value for name, value in stages.items() if name != "blocks"}
    assert h.shape[1:] == encoder.out_shape == ConvEncoder(shape, 0, **{"width": 4, **blockless}).out_shape
    for z in (h, torch.randn(2, 3)):
        decoder = ResNetDecoder(z.shape[1:], shape, 0, upsample=upsample, **{"width": 4, **stages})
        assert decoder.start == encoder.out_shape
        assert decoder(z, c).shape == (2, *shape)


def test_a_grid_keeps_its_places() -> None:
    """What is far from a corner of z is far from that corner of θ; through a dense layer it would not be."""
    decoder = ResNetDecoder((2, 16, 16), (1, 32, 32), 3, width=4, depth=1, norm="none")
    z = torch.randn(1, 2, 16, 16, requires_grad=True)
    decoder(z, torch.randn(1, 3))[0, 0, 0, 0].backward()
    assert (z.grad[0, :, 0, 0] != 0).all()
    assert (z.grad[0, :, 8:, 8:] == 0).all()


def test_blocks_begin_as_their_shortcuts() -> None:
    deep, shallow = ResNetEncoder((1, 8, 8), 0, width=4, blocks=5), ResNetEncoder((1, 8, 8), 0, width=4)
    blocks = [layer for layer in deep.layers if isinstance(layer, ResidualBlock)]
    kept = iter(blocks[::5])
    for i, layer in enumerate(shallow.layers):
        source = next(kept) if isinstance(layer, ResidualBlock) else deep.layers[0 if i == 0 else len(blocks) + i - 2]
        layer.load_state_dict(source.state_dict())
    x, c = torch.rand(3, 1, 8, 8), torch.zeros(3, 0)
    assert torch.equal(deep(x, c), shallow(x, c))
    changes = blocks[0]
    h = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(changes(h), changes.shortcut(changes.enter(h)))


@pytest.mark.parametrize("size", [(6, 9), (5, 8), (4, 7)])
def test_each_pixel_is_repeated(size: tuple[int, int]) -> None:
    """With every weight one, `nearest` gives each pixel three times three, and what is beyond is cut off."""
    layer = Enlarge(1, 1, 3, size, "nearest", False, 1)
    nn.init.ones_(layer.conv.weight)
    x = torch.randn(1, 1, 2, 3)
    found = layer(x)
    assert found.shape[2:] == size
    for i in range(size[0]):
        for j in range(size[1]):
            assert found[0, 0, i, j] == x[0, 0, i // 3, j // 3]


def test_repeating_after_a_convolution_of_one_pixel_is_repeating_before() -> None:
    layer = Enlarge(3, 4, 2, (5, 6), "nearest", True, 1)
    x = torch.randn(2, 3, 3, 3)
    torch.testing.assert_close(layer(x), layer.conv(F.interpolate(x, scale_factor=2)[:, :, :5]))


def test_sub_pixels_are_the_channels_of_a_convolution() -> None:
    layer = Enlarge(3, 2, 2, (5, 6), "subpixel", True, 3)
    x = torch.randn(2, 3, 3, 3)
    h = layer.conv(x)
    for i in range(5):
        for j in range(6):
            torch.testing.assert_close(layer(x)[:, :, i, j], h[:, 2 * (i % 2) + j % 2 :: 4, i // 2, j // 2])


def test_a_sub_pixel_layer_can_be_a_nearest_one() -> None:
    """Where the channels of each pixel are the same, the two are one: what nearest can do with filters of 1, sub-pixel can."""
    nearest, subpixel = (Enlarge(3, 2, 2, (5, 6), how, True, 1) for how in ("nearest", "subpixel"))
    with torch.no_grad():
        subpixel.conv.weight.copy_(nearest.conv.weight.repeat_interleave(4, 0))
        subpixel.conv.bias.copy_(nearest.conv.bias.repeat_interleave(4, 0))
    x = torch.randn(2, 3, 3, 3)
    torch.testing.assert_close(nearest(x), subpixel(x))


@pytest.mark.parametrize("shape", [(5,), (4, 6)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(vaekit.ShapeError, match="it is for images"):
        ResNetEncoder(shape, 0)
    with pytest.raises(vaekit.ShapeError, match="it is for images"):
        ResNetDecoder((2,), shape, 0)


def test_the_two_learn_an_image() -> None:
    encoder, decoder = ResNetEncoder((1, 7, 5), 0, width=4), ResNetDecoder((8, 2, 2), (1, 7, 5), 0, width=4)
    x, c = torch.rand(8, 1, 7, 5), torch.zeros(8, 0)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 0.01)
    losses = []
    for _ in range(150):
        loss = F.mse_loss(decoder(encoder(x, c), c), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * x.var().item() < losses[0]
