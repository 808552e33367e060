"""A hierarchy of Gaussian latents, inferred from the top down."""

from itertools import pairwise
from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vaekit import Activation, Draw, Latent, Shape, Site, Space, dense, distributions, join

Levels = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=2, max_length=16, strict=False)]
Moments = tuple[Tensor, Tensor]


class Ladder(Latent):
    r"""$p(z_1, \dots, z_L \mid c) = p(z_L \mid c) \prod_{i<L} \mathcal N(z_i; \mu_{p,i}(z_{i+1}, c),
    \operatorname{diag} \sigma^2_{p,i}(z_{i+1}, c))$, and a posterior that goes the same way, from the top down.

    h (N, *in_shape) and c (N, C) give $z_1$ (S, N, features[-1]), all that the decoder sees. The root is $z_L$, and any prior
    on a real space can be chosen for it; the conditionals below it belong to this part. Dense layers lead up from h to what
    each level sees of x, a mean $\hat\mu_i$ and a variance $\hat\sigma^2_i$. At the root these are the posterior. Below, they
    are merged with the prior that the level above gives, each weighed by its precision:

    $$\sigma^2_{q,i} = \frac1{\hat\sigma_i^{-2} + \sigma_{p,i}^{-2}}, \qquad
    \mu_{q,i} = \sigma^2_{q,i} \left( \hat\mu_i \hat\sigma_i^{-2} + \mu_{p,i} \sigma_{p,i}^{-2} \right).$$

    So a level of which x says nothing falls back on its prior. Variances are $\log(1 + \exp s) + 10^{-6}$. Each level is a
    layer of its own in the KL, those below the root a mean over draws of the level above. The code is the means all the way
    down; a root is made into a z by drawing all the way down.

    The paper found that all levels are used only with a warm-up of the KL, which is an option of the `elbo` loss, and with
    batch normalisation, which is left out here: a posterior depends on its own example alone.

    Args:
        features: latent dimensions of each level, two or more, the root first.
        hidden: width of the dense layer between two levels, of that up and of that down.
        activation: after each.

    References:
        Ladder Variational Autoencoders (Sønderby, Raiko, Maaløe, Sønderby, Winther; 2016), https://arxiv.org/abs/1602.02282,
        eq. 18 and 19.
    """

    name = "ladder"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Levels = (8, 16),
        hidden: Annotated[int, Field(ge=1, le=16384)] = 128,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        lowest = prod(in_shape) + context
        below = [hidden] * (len(features) - 1) + [lowest]  # the widths of what each level sees of x, the root first
        self.up = nn.ModuleList(dense((width, hidden), activation) for width in below[:0:-1])
        self.heads = nn.ModuleList(nn.Linear(width, 2 * own) for width, own in zip(below, features, strict=True))
        self.down = nn.ModuleList(
            nn.Sequential(dense((above + context, hidden), activation), nn.Linear(hidden, 2 * own))
            for above, own in pairwise(features)
        )
        self.root = Space(features[:1])
        self.out_shape = features[-1:]

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return _normal(self._seen(h, c)[0])

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        root, *lower = self._seen(h, c)
        q = _normal(root)
        z = q.rsample((samples,))
        sites = [Site(q, prior, z)]
        c = c.expand(samples, *c.shape)
        for down, seen in zip(self.down, lower, strict=True):
            given = _moments(down, z, c)
            q = _normal(_merged(seen, given))
            z = q.rsample()
            sites.append(Site(q, _normal(given), z))
        return Draw(z, tuple(sites))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        for down in self.down:
            root = _normal(_moments(down, root, c)).sample()
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        (z, _), *lower = self._seen(h, c)
        for down, seen in zip(self.down, lower, strict=True):
            z, _ = _merged(seen, _moments(down, z, c))
        return z

    def path(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """A straight line: z is no root, whatever their shapes, and no arc is known to lead where z has its mass."""
        a, b = distributions.promote(a, b)
        t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype)[:, None]
        return a + t * (b - a)

    def _seen(self, h: Tensor, c: Tensor) -> list[Moments]:
        """What each level sees of x, the root first."""
        features = [join(h.flatten(1), c)]
        for up in self.up:
            features.append(up(features[-1]))
        return [_moments(head, d) for head, d in zip(self.heads, features[::-1], strict=True)]


def _moments(layers: nn.Module, *inputs: Tensor) -> Moments:
    """The mean and the variance that layers make of their inputs, side by side in the dtype of the last."""
    loc, s = distributions.promote(*layers(torch.cat([i.to(inputs[-1].dtype) for i in inputs], -1)).chunk(2, -1))
    return loc, F.softplus(s) + 1e-6


def _merged(one: Moments, other: Moments) -> Moments:
    """The product of two Gaussian densities, as a Gaussian."""
    share = other[1] / (one[1] + other[1])  # of the precision, what is one's
    return other[0] + share * (one[0] - other[0]), share * one[1]


def _normal(moments: Moments) -> Distribution:
    """Of moments (N, D), or (S, N, D)."""
    loc, variance = moments
    return Independent(Normal(loc, variance.sqrt(), validate_args=False), 1, validate_args=False)
