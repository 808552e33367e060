"""A trained model of vaekit, as one that is served: arrays of numpy in and out, in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.errors import InputError
from vaekit_runtime.service.served import Array

if TYPE_CHECKING:
    from torch import Tensor

    from vaekit import VAE


class Trained:
    """A `vaekit.VAE`, whose parameters are float32.

    Args:
        model: that computes.
    """

    parts = ("encode", "decode")

    def __init__(self, model: "VAE") -> None:
        self._model = model
        self.data_shape = tuple(model.data_shape)
        self.latent_shape = tuple(model.latent.out_shape)
        self.classes: tuple[str, ...] = tuple(model.config.data.classes) if model.config and model.config.data else ()
        self.conditional = model.conditional

    def context(self, y: Any, n: int) -> NDArray[Any] | None:
        """y of n examples, as the other methods take it: one class number each."""
        with _told():
            parsed = self._model.context.parse(y, n, self.classes)
        return None if parsed is None else parsed.numpy()

    def encode(self, x: Array, y: Any = None) -> Array:
        """The deterministic codes (N, *latent_shape) of x (N, *data_shape)."""
        with _told():
            return _array(self._model.encode(x, y))

    def decode(self, z: Array, y: Any = None) -> Array:
        """The means of p(x|z), (N, *data_shape), at z (N, *latent_shape)."""
        with _told():
            return _array(self._model.decode(z, y))

    def sample(self, n: int, y: Any = None, temperature: float = 1.0, seed: int | None = None) -> Array:
        """New data, (n, *data_shape)."""
        with _told():
            return _array(self._model.sample(n, y, temperature, seed=seed))

    def image(self, given: bytes, *, most_pixels: int) -> Array:
        """A picture as the model sees pictures, (1, C, H, W)."""
        from vaekit import inputs

        with _told():
            picture, _ = inputs.picture(given, most_bytes=len(given), most_pixels=most_pixels)
            return _array(inputs.image(picture, self._model))


def _array(tensor: "Tensor") -> Array:
    return tensor.to("cpu").numpy().astype(np.float32, copy=False)


@contextmanager
def _told() -> Iterator[None]:
    """A block without gradients, whose errors are those of this package."""
    import torch

    from vaekit import VaekitError

    try:
        with torch.inference_mode():
            yield
    except VaekitError as error:
        raise InputError(str(error)) from None
