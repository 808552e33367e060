"""The von Mises-Fisher latent."""

from math import prod
from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join
from vaekit_manifolds.sphere import VonMisesFisher


class Hyperspherical(Latent):
    r"""$q(z \mid x, c) = \mathrm{vMF}(z; \mu(h, c), \kappa(h, c)) \propto \exp(\kappa \mu^\top z)$ on the unit sphere.

    h (N, *in_shape) and c (N, C) give unit vectors z (S, N, features). One dense layer gives the mean direction μ, which is
    normalised, and s of the concentration $\kappa = 1 + \log(1 + e^s)$. The density is by the area of the sphere; the
    Bessel function in its constant has nine digits for every κ. The code is μ.

    Nothing is rejected in drawing: $z = \mu \cos\theta + t \sin\theta$ with t uniform orthogonal to μ, and the angle θ by its
    quantile function. So gradients to κ are those of the quantile, with none of the correction that rejection needs.

    With prior `uniform` the KL has a closed form. For κ ≥ 1 it is never quite 0, and every direction costs the same.

    Args:
        features: coordinates of z, one more than the sphere has dimensions.

    References:
        Hyperspherical Variational Auto-Encoders (Davidson, Falorsi, De Cao, Kipf, Tomczak; 2018),
        https://arxiv.org/abs/1804.00891, section 3: density and KL.
        Implicit Reparameterization Gradients (Figurnov, Mohamed, Mnih; 2018), https://arxiv.org/abs/1805.08498, section 3:
        gradients of a quantile.
    """

    name = "hyperspherical"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=2, le=65536)] = 16,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(prod(in_shape) + context, features + 1)
        self.root = Space((features,), "sphere")
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        loc, s = self._heads(h, c)
        return VonMisesFisher(loc, 1 + F.softplus(s))

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._heads(h, c)[0]

    def _heads(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The mean direction (N, features) and s (N,)."""
        (out,) = distributions.promote(self.head(join(h.flatten(1), c)))
        return F.normalize(out[:, :-1], dim=-1), out[:, -1]
