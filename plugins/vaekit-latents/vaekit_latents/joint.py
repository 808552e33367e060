"""A Gaussian and categories together."""

from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join
from vaekit_latents.options import Classes, Features, Scale, Temperature, Variables, deviation
from vaekit_latents.relaxed import Relaxed


class Joint(Latent):
    r"""$q(z, d \mid x, c) = \mathcal N(z; \mu(h, c), \operatorname{diag} \sigma^2(h, c)) \, q(d \mid x, c)$: a Gaussian for
    what varies smoothly and relaxed categories for what does not, independent given x.

    h (N, *in_shape) and c (N, C) give (z, d) of shape (S, N, features + variables · classes), one beside the other. The root is
    the Gaussian, for which any prior on a real space can be chosen. The categories are a second layer with a fixed prior,
    relaxed and equally likely, independent of z; they have the densities of latent `categorical`, by which the bound holds,
    where the paper counts the KL of the categories before they are relaxed. What is generated gets categories drawn from that
    prior. The code is μ and the probabilities of the categories.

    Args:
        features: dimensions of the Gaussian.
        variables: categorical variables.
        classes: of each.
        temperature: of the relaxed posterior of the categories.
        prior_temperature: of their relaxed prior; at another than `temperature` categories cost KL even where they say nothing.
        scale: `exp` for $\sigma = \exp(s / 2)$ with s, the log-variance, held within ±20; `softplus` for
            $\sigma = \log(1 + \exp s) + 10^{-6}$.

    References:
        Learning Disentangled Joint Continuous and Discrete Representations (Dupont; 2018), https://arxiv.org/abs/1804.00104,
        section 3.
        The Concrete Distribution (Maddison, Mnih, Teh; 2016), https://arxiv.org/abs/1611.00712, definition 1.
    """

    name = "joint"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Features = 10,
        variables: Variables = 1,
        classes: Classes = 10,
        temperature: Temperature = 0.67,
        prior_temperature: Temperature = 0.67,
        scale: Scale = "exp",
    ) -> None:
        super().__init__()
        self.sizes = (features, features, variables * classes)
        self.head = nn.Linear(prod(in_shape) + context, sum(self.sizes))
        self.categories = (variables, classes)
        self.temperature, self.prior_temperature = temperature, prior_temperature
        self.scale = scale
        self.root = Space((features,))
        self.out_shape = (features + variables * classes,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return self._posteriors(h, c)[0]

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q, of_categories = self._posteriors(h, c)
        root, d = q.rsample((samples,)), of_categories.rsample((samples,))
        return Draw(_beside(root, d), (Site(q, prior, root), Site(of_categories, self._prior(c), d)))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return _beside(root, self._prior(c).sample())

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        loc, _, logits = self._split(h, c)
        return _beside(loc, logits.softmax(-1))

    def _posteriors(self, h: Tensor, c: Tensor) -> tuple[Distribution, Relaxed]:
        loc, s, logits = self._split(h, c)
        return distributions.normal(loc, deviation(s, self.scale)), Relaxed(logits, self.temperature)

    def _prior(self, c: Tensor) -> Relaxed:
        """The prior of the categories, batch (N,)."""
        return Relaxed(c.new_zeros(len(c), *self.categories), self.prior_temperature)

    def _split(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loc, s, logits = distributions.promote(*self.head(join(h.flatten(1), c)).split(self.sizes, dim=1))
        return loc, s, logits.unflatten(1, self.categories)


def _beside(z: Tensor, d: Tensor) -> Tensor:
    """z (*, features) and d (*, variables, classes) as one vector."""
    return torch.cat([z, d.flatten(-2)], -1)
