"""Models to show: small ones on the bundled digits, trained for a moment, and some of unusual shapes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution
from vaekit_demo.engine.shown import Shown

import vaekit
from vaekit import VAE, Config, DataError, Examples, Latent, Shape, Space, distributions
from vaekit.data.prepare import Data, load
from vaekit.data.transform import DataOptions
from vaekit.job import new_model
from vaekit.trace import Draw, Site


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
def on_another_space() -> Callable[[str], VAE]:
    return _on_another_space


@pytest.fixture(scope="session")
def several() -> Callable[..., Examples]:
    return _several


def _untrained(shape: Shape, features: int = 3, **parts: Any) -> VAE:
    """A model of data of a shape, with its first weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        config = Config(data_shape=shape, latent={"name": "gaussian", "features": features}, **parts)
        return vaekit.build(config)[0].eval()


class On(Latent):
    """A latent on another space than the real one: codes at the mean direction, or at the nearest of eight."""

    name = "on-another-space"

    def __init__(self, in_shape: Shape, context: int, *, support: str = "sphere") -> None:
        super().__init__()
        self.support = support
        self.head = torch.nn.Linear(in_shape[0], 3)
        self.out_shape = (3,)
        self.root = Space((3,), "sphere") if support == "sphere" else Space((1,), "codes", 8)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return distributions.PointMass(self.code(h, c))

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        z = self.code(h, c).expand(samples, -1, -1)
        return Draw(z, (Site(q, q, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return torch.nn.functional.normalize(root.float(), dim=-1)

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        z = torch.nn.functional.normalize(self.head(h), dim=-1)
        return z if self.support == "sphere" else z.round()


def _on_another_space(support: str) -> VAE:
    """A model whose latents are on the sphere, or codes."""
    model = _untrained((1, 8, 8))
    h = tuple(model.encoder.out_shape)
    own = {kind: getattr(model, kind) for kind in ("context", "encoder", "prior", "decoder", "likelihood")}
    return VAE(**own, latent=On(h, 0, support=support)).eval()


def _several(n: int = 40, shape: Shape = (1, 8, 8)) -> Examples:
    """Made-up examples of a shape with values in [0, 1]."""
    generator = torch.Generator().manual_seed(3)
    return Examples(torch.rand(n, *shape, generator=generator), torch.arange(n) % 4)
