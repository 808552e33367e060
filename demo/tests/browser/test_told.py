"""A model that is told the class: what it is told, where."""

import pytest
import torch
from vaekit_demo.asked import Interpolate, Samples
from vaekit_demo.calls import Gallery, answer, bound_of
from vaekit_demo.engine.given import Source
from vaekit_demo.engine.shown import Shown

from vaekit import VAE, ConfigError, Examples


@pytest.fixture(scope="module")
def told(models: dict[str, VAE], digits: Examples) -> Shown:
    return Shown("told", "told", models["told"], lambda: digits)


def test_examples_are_told_their_own_class_and_others_the_chosen_one(told: Shown, digits: Examples) -> None:
    assert digits.y is not None
    other = (int(digits.y[0]) + 1) % 10
    end = Source(test=0).end(told, other)
    assert end.y == int(digits.y[0])
    x, y = told.examples(torch.tensor([0]))
    torch.testing.assert_close(end.z[None], told.model.encode(x, y))
    assert Source(code=[0.0] * 4).end(told, other).y == other


def test_the_context_goes_from_one_class_to_the_other(told: Shown, digits: Examples) -> None:
    assert digits.y is not None
    a, b = 0, int((digits.y != digits.y[0]).nonzero()[0])
    asks = Interpolate(model="told", a=Source(test=a), b=Source(test=b), frames=5).model_dump(exclude_none=True)
    found = answer(Gallery([told]), "interpolate", asks)
    x, y = told.examples(torch.tensor([a, b]))
    wanted = told.pictures(told.model.interpolate(x[0], x[1], 5, y))
    assert found["pictures"] == {**found["a"], "n": 5, "data": found["pictures"]["data"]}
    assert _bytes(found["pictures"]) == pytest.approx(wanted.flatten().tolist(), abs=1)


def test_nothing_is_guessed(told: Shown) -> None:
    with pytest.raises(ConfigError, match="choose one"):
        answer(Gallery([told]), "interpolate", {"model": "told", "a": {"test": 0}, "b": {"code": [0.0] * 4}})


def test_draws_of_a_class_are_those_of_sample(told: Shown) -> None:
    asks = Samples(model="told", n=3, seed=5, y=7).model_dump()
    found = answer(Gallery([told]), "samples", asks)
    assert found["y"] == [7, 7, 7]
    assert _bytes(found["pictures"]) == pytest.approx(
        told.pictures(told.model.sample(3, y=7, seed=5)).flatten().tolist(), abs=1
    )


def test_bounds_of_different_things_are_told_apart(told: Shown, models: dict[str, VAE], digits: Examples) -> None:
    plain = Shown("plain", "plain", models["plain"], lambda: digits)
    assert bound_of(plain) == "log p(x), the probability of black-and-white digits of shape (1, 8, 8)"
    assert bound_of(told).startswith("log p(x|y), ")


def _bytes(pictures: dict[str, object]) -> list[int]:
    import base64

    return list(base64.b64decode(str(pictures["data"])))
