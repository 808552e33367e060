"""The recurrent encoder reads what comes before the padding, and nothing else."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from vaekit_lstm import LSTMEncoder

OPTIONS = [
    {},
    {"cell": "gru", "layers": 2},
    {"bidirectional": True},
    {"bidirectional": True, "layers": 3},
    {"bidirectional": True, "layers": 2, "cell": "gru"},
]
each_way = pytest.mark.parametrize("options", OPTIONS, ids=str)


def padded(lengths: list[int], steps: int, features: int = 3) -> torch.Tensor:
    x = torch.randn(len(lengths), steps, features)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = torch.nan
    return x


@each_way
def test_it_reads_what_torch_reads_of_packed_sequences(options: dict) -> None:
    part = LSTMEncoder((6, 3), 2, hidden=5, dense=(), **options)
    lengths = [6, 1, 4, 3]
    x, c = padded(lengths, 6), torch.randn(4, 2)
    steps = torch.cat([x.nan_to_num(), c[:, None].expand(-1, 6, -1)], 2)
    _, state = part.recurrent(pack_padded_sequence(steps, torch.tensor(lengths), batch_first=True, enforce_sorted=False))
    top = state[0] if isinstance(state, tuple) else state
    torch.testing.assert_close(part(x, c), torch.cat(list(top[-part.directions :]), 1))


@each_way
def test_the_amount_of_padding_does_not_matter(options: dict) -> None:
    short, long = (LSTMEncoder((steps, 3), 0, hidden=5, **options) for steps in (4, 9))
    long.load_state_dict(short.state_dict())
    x, c = padded([4, 2, 1, 3], 4), torch.zeros(4, 0)
    more = torch.cat([x, x.new_full((4, 5, 3), torch.nan)], 1)
    torch.testing.assert_close(long(more, c), short(x, c))


@each_way
def test_gradients_of_the_padded_are_those_of_the_unpadded(options: dict) -> None:
    part = LSTMEncoder((5, 3), 0, hidden=4, **options)
    x, c = padded([2, 2], 5), torch.zeros(2, 0)
    found = []
    for steps in (x, x[:, :2]):
        steps = steps.clone().requires_grad_()
        part.zero_grad()
        part(steps, c).square().sum().backward()
        found.append([steps.grad[:, :2], *(p.grad for p in part.parameters())])
        assert steps.grad.isfinite().all()
        assert (steps.grad[:, 2:] == 0).all()
    for with_padding, without in zip(*found, strict=True):
        assert (without != 0).any()
        torch.testing.assert_close(with_padding, without)


def test_a_hole_is_a_zero_and_padding_alone_is_one_step_of_zeros() -> None:
    part = LSTMEncoder((4, 3), 0, hidden=4, bidirectional=True)
    c = torch.zeros(1, 0)
    x = padded([3], 4)
    holed = x.clone()
    holed[0, 0, 1], holed[0, 1] = torch.nan, torch.nan
    filled = x.clone()
    filled[0, 0, 1], filled[0, 1] = 0, 0
    assert torch.equal(part(holed, c), part(filled, c))
    nothing = torch.full((1, 4, 3), torch.nan)
    zeros = nothing.clone()
    zeros[:, 0] = 0
    assert torch.equal(part(nothing, c), part(zeros, c))


def test_it_says_so() -> None:
    assert LSTMEncoder.takes_padding
