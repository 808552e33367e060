"""A prior that is a flow."""

from functools import partial
from math import sqrt
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions
from vaekit_flows.nets import Hidden
from vaekit_flows.pushed import Pushed
from vaekit_flows.steps import Autoregressive, Chain, Coupling, Mapped


class FlowPrior(Prior):
    r"""$p(z \mid c) = \mathcal N(f(z; c); 0, I) \, |\det \partial f / \partial z|$ with a learned invertible f.

    c (N, C) gives a distribution of batch (N,) and event root.shape, on a real space of any shape. f brings each dimension to
    a learned shift and scale, and then takes steps of one kind. The KL has no closed form, and is estimated from the draws.

    - `maf`: $f(z)_i = \sigma_i z_i + \mu_i$, where a masked network makes σ and μ of the dimensions before i and of c; the
      dimensions are reversed after each step. A density takes one pass through each network, a draw one for each dimension.
    - `iaf`: the same steps the other way round. A draw takes one pass, a density one for each dimension: it trains slowly.
    - `spline`: a monotonic rational-quadratic spline of 8 bins on [-5, 5] moves each dimension of one half, as a network says
      of the other half and of c; the halves change places after each step. Densities and draws take one pass.

    A run begins with the normal distribution that has the mean and the standard deviation, in each dimension, of draws from the
    posteriors of some examples; without that, it is the standard normal.

    Args:
        transform: the kind of step: `maf`, `iaf` or `spline`.
        depth: how many steps.
        hidden: width of each hidden layer of the network of a step.

    Raises:
        ShapeError: where the latent is not on a real space.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios, Pavlakou, Murray; 2017),
        https://arxiv.org/abs/1705.07057, eq. 3 to 5.
        For `iaf`: Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al.; 2016),
        https://arxiv.org/abs/1606.04934, section 3.
        For `spline`: Neural Spline Flows (Durkan et al.; 2019), https://arxiv.org/abs/1906.04032, sections 3.1 and 3.2.
        As a prior: Variational Lossy Autoencoder (Chen et al.; 2016), https://arxiv.org/abs/1611.02731, section 3.2.
    """

    name = "flow"
    begins_with = 256

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        transform: Literal["maf", "iaf", "spline"] = "maf",
        depth: Annotated[int, Field(ge=1, le=64)] = 4,
        hidden: Hidden = (128, 128),
    ) -> None:
        super().__init__()
        if root.support != "real":
            wrong = f"a flow prior lives on a real space; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        d = root.dimensions
        if transform == "spline":
            self.flow = Chain([Coupling(d, hidden) for _ in range(depth)])
        else:
            self.flow = Chain([Autoregressive(d, hidden, gated=False) for _ in range(depth)])
        self.from_noise = transform == "iaf"
        self.loc, self.log_scale = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(d))
        bound = 1 / sqrt(max(1, context))
        self.of_context = nn.Parameter(nn.init.uniform_(torch.empty(self.flow.told, context), -bound, bound))
        self.out_shape = root.shape

    def begin(self, x: Tensor, c: Tensor, posterior: Posterior) -> None:
        z = posterior(x, c).sample().flatten(1)
        if len(z) > 1:
            self.loc.copy_(z.mean(0))
            self.log_scale.copy_(z.std(0).clamp(min=1e-3).log())

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        c, weight, loc, log_scale = distributions.promote(c, self.of_context, self.loc, self.log_scale)
        with distributions.full_precision(c):
            told = c @ weight.T
        base = distributions.standard_normal((len(c), len(loc)), c)
        return Pushed(
            base, partial(self._push, told, loc, log_scale), partial(self._pull, told, loc, log_scale), self.out_shape
        )

    def _pull(self, told: Tensor, loc: Tensor, log_scale: Tensor, z: Tensor) -> Mapped:
        pull = self.flow.inverse if self.from_noise else self.flow
        u, log_det = pull((z - loc) * (-log_scale).exp(), told)
        return u, log_det - log_scale.sum()

    def _push(self, told: Tensor, loc: Tensor, log_scale: Tensor, u: Tensor) -> Mapped:
        push = self.flow if self.from_noise else self.flow.inverse
        z, log_det = push(u, told)
        return loc + z * log_scale.exp(), log_det + log_scale.sum()
