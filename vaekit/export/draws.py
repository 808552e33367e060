"""Draws from a prior that no few lines of a stranger's program could repeat."""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaekit.blocks import drawing
from vaekit.model import VAE

FILE = "prior.npz"
_MOST = 4096
_MOST_NUMBERS = 2**20
_SEED = 0


@dataclass(frozen=True)
class Draws:
    """Codes drawn from the prior, as the decoder takes them; none where that is standard normal, which anybody can draw from.

    Args:
        z: (draws, *latent.out_shape).
        y: the class that each was drawn for, evenly over all, (draws,); None for a model that is told none.
    """

    z: Tensor | None = None
    y: Tensor | None = None

    @classmethod
    def of(cls, model: VAE) -> "Draws":
        """Of a model that is still: its own prior's, always the same."""
        n = max(1, min(_MOST, _MOST_NUMBERS // prod(model.latent.out_shape)))
        with torch.no_grad(), drawing(_SEED, torch.device("cpu")):
            y = _classes(model, n)
            c = model.context(y, n if y is None else len(y))
            if _standard(model, c[:2]):
                return cls()
            return cls(model.latent.generate(model.prior_z(c).sample(), c).float(), y)

    @property
    def n(self) -> int:
        """How many there are."""
        return 0 if self.z is None else len(self.z)

    def write(self, folder: Path) -> None:
        """Put them into a folder, where there are any."""
        if self.y is not None and self.z is not None:
            np.savez_compressed(folder / FILE, z=self.z.numpy(), y=self.y.numpy())
        elif self.z is not None:
            np.savez_compressed(folder / FILE, z=self.z.numpy())


def _classes(model: VAE, n: int) -> Tensor | None:
    """Class numbers, all equally often; a context without classes draws what it likes."""
    classes = model.context.spec().get("classes")
    if isinstance(classes, int):
        return torch.arange(classes).repeat(max(1, n // classes))
    return model.context.sample(n)


def _standard(model: VAE, c: Tensor) -> bool:
    """Whether codes are drawn from N(0, 1) as they are."""
    prior = model.prior_z(c)
    if not isinstance(prior, Independent) or not isinstance(prior.base_dist, Normal):
        return False
    root = prior.sample()
    same = model.latent.generate(root, c)
    base = prior.base_dist
    unit = bool((base.loc == 0).all()) and bool((base.scale == 1).all())
    return unit and same.shape == root.shape and torch.equal(same, root)
