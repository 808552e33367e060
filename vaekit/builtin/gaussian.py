"""The diagonal Gaussian latent."""

from math import prod
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join


class Gaussian(Latent):
    r"""$q(z \mid x, c) = \mathcal N(z; \mu(h, c), \operatorname{diag} \sigma^2(h, c))$, with one dense layer for both.

    h (N, *in_shape) and c (N, C) give z (S, N, features), drawn as $\mu + \sigma \odot \varepsilon$. The code is $\mu$.

    Args:
        features: latent dimensions.
        scale: `exp` for $\sigma = \exp(s / 2)$ with s, the log-variance, held within ±20; `softplus` for
            $\sigma = \log(1 + \exp s) + 10^{-6}$, which grows more slowly and is the more stable where `exp` diverges.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, eq. 9.
    """

    name = "gaussian"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=65536)] = 16,
        scale: Literal["exp", "softplus"] = "exp",
    ) -> None:
        super().__init__()
        self.head = nn.Linear(prod(in_shape) + context, 2 * features)
        self.scale = scale
        self.root = Space((features,))
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        loc, s = distributions.promote(*self._moments(h, c))
        sigma = (s.clamp(-20, 20) / 2).exp() if self.scale == "exp" else F.softplus(s) + 1e-6
        return distributions.normal(loc, sigma)

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._moments(h, c)[0]

    def _moments(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        loc, s = self.head(join(h.flatten(1), c)).chunk(2, dim=1)
        return loc, s
