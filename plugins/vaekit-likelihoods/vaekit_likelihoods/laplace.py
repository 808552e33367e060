"""The Laplace likelihood."""

from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, distributions
from vaekit_likelihoods.scale import Mode, Positive, Scale


class Laplace(Likelihood):
    r"""$\log p(x \mid \theta) = -\sum_d |x_d - \mu_d| / b_d + \log 2 b_d$, in nats: absolute errors, for sharp edges.

    θ (N, *in_shape) gives a density on all of the reals, over x of (N, *data_shape). in_shape is data_shape, with twice the
    features where the scale is predicted.

    Args:
        scale: of b: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the decoder.
        initial: the fixed b, or the one that learning starts from.
        floor: below every b that is not fixed.

    References:
        Memoire sur la probabilite des causes par les evenements (Laplace; 1774), https://doi.org/10.1214/ss/1177013621
        (translation), section V.
    """

    name = "laplace"
    support = constraints.real
    base_measure = "lebesgue"

    def __init__(self, data_shape: Shape, *, scale: Mode = "scalar", initial: Positive = 1.0, floor: Positive = 1e-3) -> None:
        super().__init__()
        self.scale = Scale(data_shape, scale, initial, floor)
        self.in_shape = self.scale.in_shape
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        return distributions.laplace(*self.scale(theta))
