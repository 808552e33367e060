"""A posterior that is bent by a flow."""

from functools import partial
from math import prod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join
from vaekit_flows.nets import Hidden
from vaekit_flows.pushed import Pushed
from vaekit_flows.steps import Autoregressive, Chain, Coupling, Mapped, Planar


class FlowLatent(Latent):
    r"""$z = f_K \circ \cdots \circ f_1(z_0)$ with $z_0 \sim \mathcal N(\mu, \operatorname{diag} \sigma^2)$, of the density
    $q(z \mid x, c) = \mathcal N(z_0; \mu, \operatorname{diag} \sigma^2) \prod_k |\det \partial f_k / \partial z_{k-1}|^{-1}$.

    h (N, *in_shape) and c (N, C) give z (S, N, features). One dense layer makes of h and c the mean μ, the log-variance, held
    within ±20, and what each step of the flow is told. The code is where the flow takes μ. The KL has no closed form, and is
    estimated from the draws; the density of a draw costs nothing beyond drawing it.

    The steps are of one kind:

    - `planar`: $f(z) = z + \hat u \tanh(w^\top z + b)$. All of u, w and b are told, and û is u moved so that f is invertible.
    - `iaf`: $f(z)_i = \sigma_i z_i + (1 - \sigma_i) m_i$ with $\sigma_i < 1$, where a masked network makes σ and m of the
      dimensions before i and of what it is told; the dimensions are reversed after each step. The density of a point that was
      not drawn takes a pass through the network for each dimension.
    - `spline`: a monotonic rational-quadratic spline of 8 bins moves each dimension of one half, as a network says of the other
      half and of what it is told; the halves change places after each step. It acts on $(z - \mu) / \sigma$ between -5 and
      5, and leaves alone what is beyond.

    Args:
        features: latent dimensions.
        transform: the kind of step: `planar`, `iaf` or `spline`.
        depth: how many steps, K.
        hidden: width of each hidden layer of the network of a step; a planar step has none.

    References:
        Variational Inference with Normalizing Flows (Rezende, Mohamed; 2015), https://arxiv.org/abs/1505.05770, eq. 10 to
        13 and appendix A.1.
        For `iaf`: Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al.; 2016),
        https://arxiv.org/abs/1606.04934, algorithm 1, eq. 12 to 14.
        For `spline`: Neural Spline Flows (Durkan et al.; 2019), https://arxiv.org/abs/1906.04032, sections 3.1 and 3.2.
    """

    name = "flow"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=4096)] = 16,
        transform: Literal["planar", "iaf", "spline"] = "iaf",
        depth: Annotated[int, Field(ge=1, le=64)] = 4,
        hidden: Hidden = (64, 64),
    ) -> None:
        super().__init__()
        self.transform = transform
        if transform == "planar":
            self.flow = Chain([Planar(features) for _ in range(depth)])
        elif transform == "iaf":
            self.flow = Chain([Autoregressive(features, hidden, gated=True) for _ in range(depth)])
        else:
            self.flow = Chain([Coupling(features, hidden) for _ in range(depth)])
        self.head = nn.Linear(prod(in_shape) + context, 2 * features + self.flow.told)
        self.root = Space((features,))
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return self._pushed(h, c)

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self._pushed(h, c)
        z = q.rsample((samples,))
        return Draw(z, (Site(q, prior, z),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return root

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._pushed(h, c).centre

    def _pushed(self, h: Tensor, c: Tensor) -> Pushed:
        features = self.out_shape[0]
        (out,) = distributions.promote(self.head(join(h.flatten(1), c)))
        loc, s, told = out.split((features, features, self.flow.told), 1)
        scale = (s.clamp(-20, 20) / 2).exp()
        push, pull = partial(self.flow, told=told), partial(self.flow.inverse, told=told)
        if self.transform == "spline":
            push, pull = partial(_in_units, push, loc, scale), partial(_in_units, pull, loc, scale)
        return Pushed(distributions.normal(loc, scale), push, pull, self.out_shape)


def _in_units(mapped: partial[Mapped], loc: Tensor, scale: Tensor, z: Tensor) -> Mapped:
    """A map in units of a scale about a point; its log |det| is as it was."""
    moved, log_det = mapped((z - loc) / scale)
    return loc + scale * moved, log_det
