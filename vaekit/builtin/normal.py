"""The standard normal prior."""

from torch import Tensor
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions


class StandardNormal(Prior):
    r"""$p(z) = \mathcal N(0, I)$ on a real space of any shape, whatever the context.

    c (N, C) gives a distribution of batch (N,) and event root.shape.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, section 3.
    """

    name = "normal"

    def __init__(self, root: Space, data_shape: Shape, context: int) -> None:
        super().__init__()
        if root.support != "real":
            wrong = f"a normal prior lives on a real space; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        return distributions.standard_normal((c.shape[0], *self.out_shape), c)
