"""The recurrent decoder keeps every promise of its interface, and writes what it says it writes."""

import pytest
import torch
import torch.nn.functional as F
from vaekit_lstm import LSTMDecoder

import vaekit
from vaekit.testing import parametrize_with_checks

VARIANTS = [
    (LSTMDecoder, {"hidden": 8}),
    (LSTMDecoder, {"hidden": 8, "cell": "gru", "layers": 2}),
    (LSTMDecoder, {"hidden": 8, "layers": 3}),
    (LSTMDecoder, {"hidden": 1, "cell": "gru"}),
]


@parametrize_with_checks(VARIANTS)
def test_conformance(check) -> None:
    check()


def test_a_step_is_one_more_of_the_cell() -> None:
    part = LSTMDecoder((3,), (4, 5), 2, hidden=6)
    z, c = torch.randn(2, 3), torch.randn(2, 2)
    fed = torch.cat([z, c], 1)
    cell = torch.nn.LSTMCell(5, 6)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in part.recurrent.state_dict().items()})
    state = torch.tanh(part.start(fed)).chunk(2, 1)
    for theta in part(z, c).unbind(1):
        state = cell(fed, state)
        torch.testing.assert_close(theta, part.head(state[0]))


def test_an_image_is_a_sequence_of_rows_from_the_top() -> None:
    image, sequence = LSTMDecoder((3,), (2, 4, 5), 0), LSTMDecoder((3,), (4, 10), 0)
    sequence.load_state_dict(image.state_dict())
    z, c = torch.randn(2, 3), torch.zeros(2, 0)
    theta, rows = image(z, c), sequence(z, c)
    for row in range(4):
        torch.testing.assert_close(theta[:, :, row].flatten(1), rows[:, row])


def test_the_first_steps_do_not_depend_on_how_many_there_are() -> None:
    short, long = LSTMDecoder((3,), (4, 5), 0, layers=2), LSTMDecoder((3,), (9, 5), 0, layers=2)
    long.load_state_dict(short.state_dict())
    z, c = torch.randn(2, 3), torch.zeros(2, 0)
    torch.testing.assert_close(long(z, c)[:, :4], short(z, c))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_it_learns_to_count(cell: str) -> None:
    """A bump at the step that z says: what states over steps are for."""
    part = LSTMDecoder((1,), (8, 1), 0, hidden=16, cell=cell)
    optimizer = torch.optim.Adam(part.parameters(), 0.02)
    z = torch.linspace(-1, 1, 32)[:, None]
    x = (-((torch.arange(8) - 3.5 - 3.5 * z) ** 2)).exp()[:, :, None]
    for _ in range(200):
        loss = F.mse_loss(part(z, torch.zeros(32, 0)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1 * x.var()


def test_a_vector_is_refused() -> None:
    with pytest.raises(vaekit.ShapeError, match="it writes images"):
        LSTMDecoder((2,), (5,), 0)
