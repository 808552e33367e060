"""What is served: an exported model, or a trained one; names and meanings are those of `vaekit.VAE`."""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Served(Protocol):
    """A model on arrays of numpy. A `vaekit_runtime.Predictor` is one; `vaekit_runtime.service.trained.Trained` another.

    Its methods raise `vaekit_runtime.PredictError` where what they are given does not fit.
    """

    @property
    def parts(self) -> tuple[str, ...]:
        """What it can do, of `encode` and `decode`."""

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of one example."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of one code."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; may be empty."""

    @property
    def conditional(self) -> bool:
        """Whether it is told a y."""

    def context(self, y: Any, n: int) -> NDArray[Any] | None:
        """What a person gave as y, with one row an example, as the methods below take it; None where it takes none."""

    def encode(self, x: Array, y: Any = None) -> Array:
        """The deterministic codes (N, *latent_shape) of x (N, *data_shape)."""

    def decode(self, z: Array, y: Any = None) -> Array:
        """The means of p(x|z), (N, *data_shape), at z (N, *latent_shape)."""

    def sample(self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None) -> Array:
        """New data, (n, *data_shape)."""

    def image(self, given: bytes, *, most_pixels: int) -> Array:
        """A picture as the model sees pictures, (1, C, H, W), from the bytes of its file."""


@runtime_checkable
class Draws(Protocol):
    """A model that draws codes on their own, so that samples are decoded together with what others ask to be decoded."""

    def draw(
        self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None
    ) -> tuple[Array, NDArray[Any] | None]:
        """Codes from the prior, (n, *latent_shape), and their contexts, or None where there are none."""


@dataclass(frozen=True)
class Model:
    """A model, and what to say of it.

    Args:
        served: that computes.
        name: what people call it.
        versions: of the packages that compute it.
        range: the values that are black and white in its images.
        units: of the values of its data.
        contexts: whether a y may be contexts themselves, (N, width), rather than classes.
    """

    served: Served
    name: str
    versions: dict[str, str] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
    units: str = ""
    contexts: bool = True
