"""A mixture of Gaussians as the prior."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions
from vaekit_priors.mixture import Mixture

_SEEN = 256  # examples that tell the scale of a dimension


class GaussianMixture(Prior):
    r"""$p(z) = \sum_{k=1}^K w_k \, \mathcal N(z; \mu_k, \operatorname{diag} \sigma_k^2)$ with w, μ and σ learned.

    c (N, C) gives a distribution of batch (N,) and event root.shape, the same whatever the context, on a real space of any
    shape. The KL to it has no closed form, and is estimated from the draws.

    A run begins with means at draws from the posteriors of some examples, and with scales that are the standard deviation of
    such draws, so that every component has something to explain whatever the scale of the latents; where there are fewer
    examples than components, the other means are draws from the normal distribution of their moments. Without that, means
    are draws from the standard normal, and scales 1. All weights begin equal.

    Args:
        components: how many Gaussians, K.

    Raises:
        ShapeError: where the latent is not on a real space.

    References:
        VAE with a VampPrior (Tomczak, Welling; 2018), https://arxiv.org/abs/1705.07120, which compares itself with it.
    """

    name = "mixture"

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        components: Annotated[int, Field(ge=1, le=65536)] = 50,
    ) -> None:
        super().__init__()
        if root.support != "real":
            wrong = f"a mixture of Gaussians lives on a real space; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(nn.init.normal_(torch.empty(components, *root.shape)))
        self.log_scale = nn.Parameter(torch.zeros(components, *root.shape))
        self.out_shape = root.shape
        self.begins_with = max(components, _SEEN)

    def begin(self, x: Tensor, c: Tensor, posterior: Posterior) -> None:
        z = posterior(x, c).sample()
        if len(z) > 1:
            scale = z.std(0).clamp(min=1e-3)
            self.loc.copy_(z.mean(0) + scale * self.loc)
            self.log_scale.copy_(scale.log().expand_as(self.log_scale))
        first = z[: len(self.loc)]
        self.loc[: len(first)] = first.to(self.loc)

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        logits, loc, log_scale = distributions.promote(self.logits, self.loc, self.log_scale)
        return Mixture(logits, distributions.normal(loc, log_scale.clamp(-10, 10).exp()), len(c))
