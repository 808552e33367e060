"""A diagonal Gaussian posterior."""

from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join


class ExampleLatent(Latent):
    r"""$q(z \mid x, c) = \mathcal N(z; \mu, \operatorname{diag} \sigma^2)$, μ and log σ linear in h, c.

    h (N, *in_shape) and c (N, C) give z (S, N, features), drawn as
    $\mu + \sigma \odot \varepsilon$; the code is μ. Densities and the KL are in nats per
    example. log σ is held within ±10.

    Args:
        features: latent dimensions.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013),
        https://arxiv.org/abs/1312.6114, eq. 9.
    """

    name = "example"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=65536)] = 16,
    ) -> None:
        super().__init__()
        inputs = prod(in_shape) + context
        self.mean = nn.Linear(inputs, features)
        self.log_std = nn.Linear(inputs, features)
        self.root = Space((features,))
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        h = join(h.flatten(1), c)
        mean, log_std = distributions.promote(self.mean(h), self.log_std(h))
        return distributions.normal(mean, log_std.clamp(-10, 10).exp())

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        mean: Tensor = self.mean(join(h.flatten(1), c))
        return mean
