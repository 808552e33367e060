"""The convolutional parts keep every promise of their interfaces, and fit images of any size."""

import pytest
import torch
from vaekit_conv import ConvEncoder, TransposedConvDecoder
from vaekit_conv.layers import finish

import vaekit
from vaekit.testing import parametrize_with_checks

SHAPES = [(1, 28, 28), (3, 28, 20), (1, 17, 31), (3, 8, 8), (1, 1, 1), (3, 1, 9)]
OPTIONS = [
    {},
    {"depth": 3, "norm": "group", "activation": "leaky-relu"},
    {"norm": "none", "activation": "gelu", "kernel": 5, "width": 3},
    {"channels": (4, 6, 6), "strides": (1, 2, 3), "activation": "silu"},
    {"depth": 1, "kernel": 1},
]

VARIANTS = [
    *[(part, {"width": 4, **options}) for part in (ConvEncoder, TransposedConvDecoder) for options in OPTIONS[:2]],
    (ConvEncoder, {**OPTIONS[3], "norm": "none", "join": "features"}),
    (TransposedConvDecoder, {**OPTIONS[2], "dense": (7,)}),
]


@parametrize_with_checks(VARIANTS, shapes=[(3, 7, 5), (1, 1, 1), (2, 1, 9)])
def test_conformance(check) -> None:
    check()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_decoder_starts_from_the_map_that_the_encoder_ends_with(shape: tuple[int, ...], options: dict) -> None:
    options = {"width": 4, **options}
    encoder, decoder, c = ConvEncoder(shape, 0, **options), TransposedConvDecoder((2,), shape, 0, **options), torch.zeros(2, 0)
    assert encoder(torch.rand(2, *shape), c).shape[1:] == encoder.out_shape == decoder.start
    assert decoder(torch.randn(2, 2), c).shape[1:] == shape


def test_the_context_comes_in_where_it_should() -> None:
    at_input = ConvEncoder((1, 8, 8), 3, width=4)
    at_features = ConvEncoder((1, 8, 8), 3, width=4, join="features")
    assert at_input.layers[0].in_channels == 4
    assert at_features.layers[0].in_channels == 1
    assert at_features.out_shape == (8 + 3, 2, 2)
    c = torch.rand(2, 3)
    assert (at_features(torch.rand(2, 1, 8, 8), c)[:, 8:] == c[:, :, None, None]).all()


def test_no_normalisation_means_none() -> None:
    part = ConvEncoder((1, 8, 8), 0, norm="none")
    assert not any("Norm" in type(m).__name__ for m in part.modules())
    assert all(m.bias is not None for m in part.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize("shape", [(5,), (4, 6)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(vaekit.ShapeError, match="images"):
        ConvEncoder(shape, 0)
    with pytest.raises(vaekit.ShapeError, match="images"):
        TransposedConvDecoder((2,), shape, 0)


def test_too_many_channels_are_refused() -> None:
    with pytest.raises(vaekit.ConfigError, match="65,536"):
        ConvEncoder((1, 8, 8), 0, width=4096, depth=8)


def test_a_batch_of_one_with_one_value_a_channel_trains() -> None:
    part = ConvEncoder((1, 8, 8), 0, width=4, depth=3).train()
    part(torch.rand(1, 1, 8, 8), torch.zeros(1, 0)).sum().backward()
    x = torch.rand(16, 1, 8, 8)
    batch, reference = part.layers[1], torch.nn.BatchNorm2d(4)
    torch.testing.assert_close(batch(part.layers[0](x)), reference(part.layers[0](x)))


@pytest.mark.parametrize("channels", [1, 3, 4, 12, 32, 64])
def test_a_map_of_one_pixel_survives_group_normalisation(channels: int) -> None:
    """A group of one value has no variance; normalised all the same, it would be zero whatever it was."""
    (norm, _) = finish(channels, "group", "relu")
    x = torch.randn(3, channels, 1, 1)
    assert not torch.allclose(norm(x[:1]), norm(x[1:2]))
    assert norm(x[:1]).isfinite().all()
    whole = torch.randn(3, channels, 2, 5)
    groups = norm(whole).unflatten(1, (norm.num_groups, -1))
    torch.testing.assert_close(groups.mean((2, 3, 4)), torch.zeros(3, norm.num_groups), atol=1e-5, rtol=0)
    assert norm.num_groups == {1: 1, 3: 1, 4: 1, 12: 3, 32: 8, 64: 8}[channels]
