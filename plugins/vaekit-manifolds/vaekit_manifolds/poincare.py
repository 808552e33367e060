"""The latent in the Poincaré ball."""

from math import prod, sqrt
from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, Space, distributions, join
from vaekit_manifolds.ball import Curvature, WrappedNormalInBall, exponential, geodesic, logarithm


class Poincare(Latent):
    r"""$q(z \mid x, c)$, a wrapped normal in the Poincaré ball, whose volume grows exponentially with the radius, as trees do.

    h (N, *in_shape) and c (N, C) give z (S, N, features). One dense layer gives m, the tangent vector at 0 that leads to the
    mean $\mu = \exp_0(m)$, and s of $\sigma = \log(1 + e^s) + 10^{-5}$, both in units of length. A draw is
    $\exp_\mu(P_{0 \to \mu}(v))$ with $v \sim \mathcal N(0, \operatorname{diag} \sigma^2)$. The code is the mean.

    The root lives in the open unit ball whatever the curvature, with the metric $(4 / c) (1 - |z|^2)^{-2} I$, and densities are
    by Euclidean volume there. The decoder sees the same point in the ball of radius $1 / \sqrt c$, as the paper has it, or the
    tangent vector at 0 that leads to it. The smaller c, the more either is as in a Euclidean space. Points are held
    within some 15 of 0 in float32, in units of $1 / \sqrt c$. A prior of scale s in D dimensions draws about
    $s \sqrt D$ from 0: with many features take a c so small that $s \sqrt{c D}$ is well below that.

    Args:
        features: latent dimensions.
        curvature: c, of a space of curvature -c; give prior `wrapped-normal` the same.
        chart: what the decoder sees: `ball` for the point, `tangent` for $\log_0$ of it, which tells points near the boundary
            apart.

    References:
        Continuous Hierarchical Representations with Poincaré Variational Auto-Encoders (Mathieu, Le Lan, Maddison, Tomioka,
        Teh; 2019), https://arxiv.org/abs/1901.06033, section 3.
        A Wrapped Normal Distribution on Hyperbolic Space for Gradient-Based Learning (Nagano, Yamaguchi, Fujita, Koyama; 2019),
        https://arxiv.org/abs/1902.02992, algorithm 1.
    """

    name = "poincare"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        features: Annotated[int, Field(ge=1, le=65536)] = 16,
        curvature: Curvature = 1.0,
        chart: Literal["ball", "tangent"] = "ball",
    ) -> None:
        super().__init__()
        self.head = nn.Linear(prod(in_shape) + context, 2 * features)
        self.curvature, self.chart = curvature, chart
        self.root = Space((features,), "ball")
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        tangent, s = self._heads(h, c)
        return WrappedNormalInBall(tangent, F.softplus(s) + 1e-5, self.curvature)

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        root = q.rsample((samples,))
        return Draw(self._seen(root), (Site(q, prior, root),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return self._seen(root)

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._seen(exponential(self._heads(h, c)[0], self.curvature)[0])

    def path(self, a: Tensor, b: Tensor, steps: int) -> Tensor:
        """Along the geodesic, in even steps."""
        return self._seen(geodesic(self._root(a), self._root(b), steps).to(a.dtype))

    def _root(self, z: Tensor) -> Tensor:
        return exponential(z, self.curvature)[0] if self.chart == "tangent" else z * sqrt(self.curvature)

    def _seen(self, root: Tensor) -> Tensor:
        return logarithm(root, self.curvature) if self.chart == "tangent" else root / sqrt(self.curvature)

    def _heads(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        tangent, s = distributions.promote(*self.head(join(h.flatten(1), c)).chunk(2, dim=1))
        return tangent, s
