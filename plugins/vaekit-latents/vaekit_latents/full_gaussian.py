"""The Gaussian latent with full covariance."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Shape, Space, distributions, join
from vaekit_latents.one_layer import OneLayer
from vaekit_latents.options import Scale, deviation


class FullGaussian(OneLayer):
    r"""$q(z \mid x, c) = \mathcal N(z; \mu(h, c), L L^\top)$, with one dense layer for the mean and for the Cholesky factor L.

    h (N, *in_shape) and c (N, C) give z (S, N, features), drawn as $\mu + L \varepsilon$ with $L = \operatorname{diag}(\sigma)
    (I + B)$. B(h, c) is free below the diagonal and 0 elsewhere, $\sigma_i$ the standard deviation of $z_i$ given those before
    it: together every covariance there is. Where $\sigma_i$ is small the whole row of L is, so that densities keep their
    digits. The code is $\mu$. The layer has D (D + 3) / 2 outputs for D features, and the KL to a Gaussian is in closed form
    but no sum over dimensions.

    Args:
        features: latent dimensions, D.
        scale: `softplus` for $\sigma = \log(1 + \exp s) + 10^{-6}$; `exp` for $\sigma = \exp(s / 2)$ with s held within ±20.

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
        tril = torch.diag_embed(torch.ones_like(s))
        row, column = torch.tril_indices(len(s[0]), len(s[0]), -1, device=s.device)
        tril[:, row, column] = below
        return distributions.multivariate_normal(loc, deviation(s, self.scale)[..., None] * tril)

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._split(h, c)[0]

    def _split(self, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """The mean, s, and B row by row."""
        parts: tuple[Tensor, ...] = self.head(join(h.flatten(1), c)).split(self.sizes, dim=1)
        return parts
