"""The wrapped normal prior in the Poincaré ball."""

from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions
from vaekit_manifolds.ball import Curvature, WrappedNormalInBall


class WrappedNormal(Prior):
    r"""$p(z)$, a normal $\mathcal N(0, \sigma^2 I)$ in the tangent space at 0, wrapped onto the Poincaré ball by $\exp_0$.

    c (N, C) gives a distribution of batch (N,) and event root.shape, whatever the context: its density by Euclidean volume in
    the unit ball with the metric $(4 / c) (1 - |z|^2)^{-2} I$. Only $\sigma \sqrt c$ matters. The KL from another wrapped
    normal has no closed form: it is estimated from the draws.

    Args:
        curvature: c, of a space of curvature -c; that of the latent.
        scale: σ, in units of length, or where learning starts from.
        learned: whether σ is learned.

    Raises:
        ShapeError: where the latent is not in the ball.

    References:
        Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (Mathieu, Le Lan, Maddison, Tomioka,
        Teh; 2019), https://arxiv.org/abs/1901.06033, section 3.
    """

    name = "wrapped-normal"

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        curvature: Curvature = 1.0,
        scale: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if root.support != "ball":
            wrong = f"a wrapped normal prior lives in the Poincaré ball; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        self.curvature = curvature
        log_scale = torch.tensor(log(scale))
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale, persistent=False)
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        (scale,) = distributions.promote(self.log_scale.exp())
        shape = (len(c), *self.out_shape)
        return WrappedNormalInBall(scale.new_zeros(shape), scale.expand(shape), self.curvature)
