"""The Gaussian latent with full covariance."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join
from vaekit_latents.options import Scale, deviation


class FullGaussian(Latent):
    r"""$q(z \mid x, c) = \mathcal N(z; \mu(h, c), L L^\top)$, with one dense layer for the mean and for the Cholesky factor L.

    h (N, *in_shape) and c (N, C) give z (S, N, features), drawn as $\mu + L \varepsilon$. L(h, c) is lower triangular, its
    diagonal positive and the rest free, which is every covariance there is. The code is $\mu$. The layer has D (D + 3) / 2
    outputs for D features, and the KL to a Gaussian is in closed form but no sum over dimensions.

    Args:
        features: latent dimensions, D.
        scale: `softplus` for a diagonal of $\log(1 + \exp s) + 10^{-6}$; `exp` for $\exp(s / 2)$ with s held within ±20.

    References:
        An Introduction to Variational Autoencoders (Kingma, Welling; 2019), https://arxiv.org/abs/1906.02691, section 2.5.1.
    """

    name = "full-gaussian"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=1024)] = 16,
        scale: Scale = "softplus",
    ) -> None:
        super().__init__()
        self.sizes = (features, features, features * (features - 1) // 2)
        self.head = nn.Linear(prod(in_shape) + context, sum(self.sizes))
        self.scale = scale
        self.root = Space((features,))
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        loc, s, below = distributions.promote(*self._split(h, c))
        tril = torch.diag_embed(deviation(s, self.scale))
        row, column = torch.tril_indices(len(s[0]), len(s[0]), -1, device=s.device)
        tril[:, row, column] = below
        return distributions.multivariate_normal(loc, tril)

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        with distributions.full_precision(h):  # else autocast rounds the product of L and the noise
            z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._split(h, c)[0]

    def _split(self, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """The mean, the diagonal before it is made positive, and what is below it, row by row."""
        parts: tuple[Tensor, ...] = self.head(join(h.flatten(1), c)).split(self.sizes, dim=1)
        return parts
