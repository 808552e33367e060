"""The Bernoulli likelihood."""

from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, distributions


class Bernoulli(Likelihood):
    r"""$\log p(x \mid \theta) = \sum_d x_d \theta_d - \log(1 + e^{\theta_d})$, with θ the logits, in nats per example.

    θ (N, *data_shape) gives a distribution over x in {0, 1}, by counting. Grey values in [0, 1] are scored by the same
    formula: that is a pseudo-likelihood (it does not integrate to one), so its numbers are no bound on anything.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, eq. 11.
    """

    name = "bernoulli"
    support = constraints.boolean
    pseudo_support = constraints.unit_interval
    base_measure = "counting"

    def __init__(self, data_shape: Shape) -> None:
        super().__init__()
        self.in_shape = self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        return distributions.bernoulli(theta)
