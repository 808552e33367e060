"""The uniform prior on the sphere."""

from torch import Tensor
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions
from vaekit_manifolds.sphere import UniformOnSphere


class Uniform(Prior):
    r"""$p(z) = \Gamma(D / 2) / (2 \pi^{D / 2})$ by the area of the unit sphere in D dimensions, whatever the context.

    c (N, C) gives a distribution of batch (N,) and event root.shape. The KL from a von Mises-Fisher posterior has a closed
    form.

    Raises:
        ShapeError: where the latent is not of unit vectors.

    References:
        Hyperspherical Variational Auto-Encoders (Davidson, Falorsi, De Cao, Kipf, Tomczak; 2018),
        https://arxiv.org/abs/1804.00891, section 3.
    """

    name = "uniform"

    def __init__(self, root: Space, data_shape: Shape, context: int) -> None:
        super().__init__()
        if root.support != "sphere":
            wrong = f"a uniform prior lives on the sphere; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        (like,) = distributions.promote(c.new_empty(()))
        return UniformOnSphere(like.expand(len(c), *self.out_shape))
