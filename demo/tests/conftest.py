"""Models to show: small ones on the bundled digits, trained for a moment, and some of unusual shapes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from vaekit_demo.engine.shown import Shown

import vaekit
from vaekit import VAE, Config, DataError, Examples, Shape
from vaekit.data.prepare import Data, load
from vaekit.data.transform import DataOptions
from vaekit.starting import new_model


@pytest.fixture(scope="session")
def data() -> Data:
    return load("digits", DataOptions(binarize="dynamic"))


def _trained(data: Data, **parts: Any) -> VAE:
    model, loss = new_model(data, parts, seed=1)
    batches = vaekit.Batches(data.train, 64, shuffle=True, dynamic=True)
    list(vaekit.train(model, loss, batches, epochs=5, lr=2e-3, device="cpu"))
    return model.eval()


@pytest.fixture(scope="session")
def plane(data: Data) -> Shown:
    """Of two dimensions."""
    return Shown("plane", "a plane", _trained(data, latent={"features": 2}), lambda: data.test)


@pytest.fixture(scope="session")
def deep(data: Data) -> Shown:
    """Of six dimensions."""
    return Shown("deep", "six dimensions", _trained(data, latent={"features": 6}), lambda: data.test)


@pytest.fixture(scope="session")
def alone(deep: Shown) -> Shown:
    """The same, with no data at hand."""
    return Shown("alone", "no data", deep.model, nowhere)


def nowhere() -> Examples:
    raise DataError("its data are elsewhere")


@pytest.fixture(scope="session")
def gallery(plane: Shown, deep: Shown, alone: Shown) -> list[Shown]:
    return [plane, deep, alone]


@pytest.fixture(scope="session")
def untrained() -> Callable[..., VAE]:
    return _untrained


@pytest.fixture(scope="session")
def several() -> Callable[..., Examples]:
    return _several


def _untrained(shape: Shape, features: int = 3, **parts: Any) -> VAE:
    """A model of data of a shape, with its first weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = Config(data_shape=shape, **{"latent": {"name": "gaussian", "features": features}, **parts})
        return vaekit.build(config)[0].eval()


def _several(n: int = 40, shape: Shape = (1, 8, 8)) -> Examples:
    """Made-up examples of a shape with values in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    return Examples(torch.rand(n, *shape, generator=generator), torch.arange(n) % 4)
