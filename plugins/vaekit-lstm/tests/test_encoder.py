"""The recurrent encoder keeps every promise of its interface, and reads what it says it reads."""

import pytest
import torch
from vaekit_lstm import LSTMEncoder

import vaekit
from vaekit.testing import parametrize_with_checks

VARIANTS = [
    LSTMEncoder,
    (LSTMEncoder, {"cell": "gru", "dense": ()}),
    (LSTMEncoder, {"bidirectional": True, "layers": 2, "dense": (6, 5)}),
    (LSTMEncoder, {"hidden": 1, "dense": ()}),
]


@parametrize_with_checks(VARIANTS)
def test_conformance(check) -> None:
    check()


def test_an_image_is_a_sequence_of_rows_from_the_top() -> None:
    """A forward LSTM's last state depends on the last row; its state before that does not."""
    part = LSTMEncoder((2, 3, 4), 0, hidden=5, dense=())
    x = torch.rand(1, 2, 3, 4)
    rows = torch.stack([x[0, :, row].flatten() for row in range(3)])
    output, _ = part.recurrent(rows[None])
    torch.testing.assert_close(part(x, torch.zeros(1, 0)), output[:, -1])


def test_both_directions_are_read_to_their_ends() -> None:
    part = LSTMEncoder((3, 4), 0, hidden=5, bidirectional=True, dense=())
    x = torch.rand(1, 3, 4)
    output, _ = part.recurrent(x)
    torch.testing.assert_close(part(x, torch.zeros(1, 0)), torch.cat([output[:, -1, :5], output[:, 0, 5:]], dim=1))


def test_the_context_reaches_every_step() -> None:
    part = LSTMEncoder((3, 4), 2, hidden=5, dense=())
    x, c = torch.rand(1, 3, 4), torch.rand(1, 2, requires_grad=True)
    part(x, c).sum().backward()
    assert c.grad is not None
    assert (c.grad != 0).all()


def test_a_vector_is_refused() -> None:
    with pytest.raises(vaekit.ShapeError, match="sequences"):
        LSTMEncoder((5,), 0)
