"""The vision transformer keeps every promise of its interface, and sees what it says it sees."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vaekit_vit import ViTEncoder
from vaekit_vit.positions import waves

import vaekit
from vaekit.testing import parametrize_with_checks

SMALL = {"width": 8, "layers": 2, "heads": 2}
VARIANTS = [
    (ViTEncoder, {**SMALL, "patch": 3}),
    (ViTEncoder, {**SMALL, "positions": "sincos", "pool": "class"}),
    (ViTEncoder, {**SMALL, "positions": "none", "heads": 1, "pool": "mean"}),
]


@parametrize_with_checks(VARIANTS, shapes=[(3, 7, 5), (1, 1, 1), (6, 4), (1, 1)])
def test_conformance(check) -> None:
    check()


def tokens_of(x: torch.Tensor, patch: int) -> list[torch.Tensor]:
    """The patches, row by row, cut by hand."""
    n, channels, height, width = x.shape
    whole = x.new_zeros(n, channels, height + -height % patch, width + -width % patch)
    whole[:, :, :height, :width] = x
    rows = [whole[:, :, i : i + patch] for i in range(0, height, patch)]
    return [row[:, :, :, j : j + patch].flatten(1) for row in rows for j in range(0, width, patch)]


@pytest.mark.parametrize("shape", [(2, 6, 9), (1, 7, 5), (3, 1, 1), (1, 2, 8)])
def test_an_image_is_cut_into_patches_and_filled_up_with_zeros(shape: tuple[int, ...]) -> None:
    part = ViTEncoder(shape, 0, patch=3, **SMALL)
    x = torch.rand(2, *shape)
    tokens, _ = part._patches(x)
    assert torch.equal(tokens, torch.stack(tokens_of(x, 3), 1))
    assert part.positions.shape == (tokens.shape[1], 8)


@pytest.mark.parametrize("pool", ["mean", "class"])
def test_without_positions_the_order_of_patches_does_not_matter(pool: str) -> None:
    x, c = torch.rand(2, 1, 6, 6), torch.randn(2, 3)
    mixed = (
        torch.stack(tokens_of(x, 2), 1)[:, torch.randperm(9)].reshape(2, 3, 3, 2, 2).permute(0, 1, 3, 2, 4).reshape(2, 1, 6, 6)
    )
    blind = ViTEncoder((1, 6, 6), 3, patch=2, positions="none", pool=pool, **SMALL)
    torch.testing.assert_close(blind(x, c), blind(mixed, c))
    for positions in ("learned", "sincos"):
        part = ViTEncoder((1, 6, 6), 3, patch=2, positions=positions, pool=pool, **SMALL)
        assert (part(x, c) - part(mixed, c)).abs().max() > 1e-4


def test_tokens_are_where_their_patches_are() -> None:
    part = ViTEncoder((1, 6, 9), 0, patch=3, **SMALL)
    for layer in part.layers:
        nn.init.zeros_(layer.together.weight)  # so that no token sees another
    x, c = torch.rand(2, 1, 6, 9), torch.zeros(2, 0)
    other = x.clone()
    other[:, 0, 4, 7] += 1
    h = part(x, c)
    assert h.shape[1:] == part.out_shape == (8, 2, 3)
    assert (part(other, c) != h).any(1).nonzero().tolist() == [[0, 1, 2], [1, 1, 2]]
    pooled = ViTEncoder((1, 6, 9), 0, patch=3, pool="mean", **SMALL)
    pooled.load_state_dict(part.state_dict())
    torch.testing.assert_close(pooled(x, c), h.mean((2, 3)))


def test_a_plain_run_learns_what_is_where() -> None:
    """A square in one of four corners; when the mean of all tokens was h, the latents were given up for this."""
    x = torch.zeros(128, 1, 8, 8)
    for i in range(4):
        row, column = 4 * (i // 2) + 1, 4 * (i % 2) + 1
        x[i::4, :, row : row + 2, column : column + 2] = 1
    model, loss = vaekit.build(
        {
            "data_shape": (1, 8, 8),
            "encoder": {"name": "vit", "patch": 2, "width": 32, "layers": 2},
            "latent": {"name": "gaussian", "features": 4},
            "decoder": {"name": "mlp", "hidden": [32]},
        }
    )
    *_, last = vaekit.train(model, loss, [x], epochs=200, lr=5e-3, device="cpu")
    assert last.terms["nelbo"] < 6  # 9.0 is what is known of the pixels one by one


def test_a_layer_is_that_of_torch() -> None:
    part = ViTEncoder((5, 3), 0, **SMALL)
    ours = part.layers[0]
    other = nn.TransformerEncoderLayer(8, 2, 32, 0.0, F.gelu, batch_first=True, norm_first=True)
    names = {
        "self_attn.in_proj_": "queries_keys_values.",
        "self_attn.out_proj.": "together.",
        "linear1.": "perceptron.0.",
        "linear2.": "perceptron.2.",
        "norm1.": "before_attention.",
        "norm2.": "before_perceptron.",
    }
    state = ours.state_dict()
    other.load_state_dict({old + end: state[new + end] for old, new in names.items() for end in ("weight", "bias")})
    h, seen = torch.randn(4, 5, 8), torch.arange(5) < torch.tensor([[5], [3], [1], [4]])
    torch.testing.assert_close(ours(h, None), other(h))
    torch.testing.assert_close(ours(h, seen)[seen], other(h, src_key_padding_mask=~seen)[seen])


each_way = pytest.mark.parametrize(
    "options",
    [{"pool": "mean"}, {"positions": "sincos"}, {"pool": "class"}, {"positions": "none", "pool": "none"}],
    ids=str,
)


def padded(lengths: list[int], steps: int) -> torch.Tensor:
    x = torch.randn(len(lengths), steps, 3)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = torch.nan
    return x


def pair(short: int, long: int, **options: str) -> list[ViTEncoder]:
    """The same for sequences of two lengths; positions of the longer one begin with those of the shorter."""
    parts = [ViTEncoder((steps, 3), 2, **SMALL, **options) for steps in (short, long)]
    state = parts[1].state_dict() | {name: value for name, value in parts[0].state_dict().items() if name != "positions"}
    if "positions" in state:
        state["positions"] = torch.cat([parts[0].positions.detach(), state["positions"][short:]])
    parts[1].load_state_dict(state)
    return parts


def within(h: torch.Tensor, steps: int) -> torch.Tensor:
    """Of tokens those of the first steps; the others are zeros. What is pooled is as it is."""
    if h.dim() == 2:
        return h
    assert (h[:, steps:] == 0).all()
    return h[:, :steps]


@each_way
def test_the_amount_of_padding_does_not_matter(options: dict) -> None:
    short, long = pair(4, 9, **options)
    x, c = padded([4, 2, 1, 3], 4), torch.randn(4, 2)
    more = torch.cat([x, x.new_full((4, 5, 3), torch.nan)], 1)
    torch.testing.assert_close(within(long(more, c), 4), short(x, c))
    alone, _ = pair(2, 9, **options)
    alone.load_state_dict({name: v[:2] if name == "positions" else v for name, v in short.state_dict().items()})
    torch.testing.assert_close(within(short(x, c)[1:2], 2), alone(x[1:2, :2], c[1:2]))


@each_way
def test_gradients_of_the_padded_are_those_of_the_unpadded(options: dict) -> None:
    short, long = pair(2, 5, **options)
    x, c = padded([2, 2], 5), torch.randn(2, 2)
    weights = torch.randn(2, 2, 8)  # normalisation leaves no gradient to a sum of squares
    found = []
    for part, steps in ((long, x), (short, x[:, :2])):
        steps = steps.clone().requires_grad_()
        h = within(part(steps, c), 2)
        (h * (weights if h.dim() == 3 else weights[:, 0])).sum().backward()
        assert steps.grad.isfinite().all()
        assert (steps.grad[:, 2:] == 0).all()
        gradients = {name: p.grad[:2] if name == "positions" else p.grad for name, p in part.named_parameters()}
        found.append({**gradients, "x": steps.grad[:, :2]})
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name])


def test_a_hole_is_a_zero_and_padding_alone_is_one_step_of_zeros() -> None:
    part, c = ViTEncoder((4, 3), 0, **SMALL), torch.zeros(1, 0)
    holed, filled = padded([3], 4).repeat(2, 1, 1).split(1)
    holed[0, 1, 1], filled[0, 1, 1] = torch.nan, 0
    assert torch.equal(part(holed, c), part(filled, c))
    nothing = torch.full((1, 4, 3), torch.nan)
    zeros = nothing.clone()
    zeros[:, 0] = 0
    assert torch.equal(part(nothing, c), part(zeros, c))


def test_the_waves() -> None:
    found = waves((3, 5), 8)
    assert found.shape == (15, 8)
    row, column = 2, 3
    expected = [f(place * w) for place in (row, column) for f in (torch.sin, torch.cos) for w in torch.tensor([1, 0.01])]
    torch.testing.assert_close(found[row * 5 + column], torch.stack(expected))
    assert len(waves((9,), 4).unique(dim=0)) == 9


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(vaekit.ShapeError, match="it reads images"):
        ViTEncoder((5,), 0)
    with pytest.raises(vaekit.ConfigError, match="3 heads"):
        ViTEncoder((1, 8, 8), 0, width=8, heads=3)
    with pytest.raises(vaekit.ConfigError, match="multiple of 4"):
        ViTEncoder((1, 8, 8), 0, width=6, heads=2, positions="sincos")


def test_it_says_that_it_takes_padding() -> None:
    assert ViTEncoder.takes_padding
