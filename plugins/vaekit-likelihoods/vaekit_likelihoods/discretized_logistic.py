"""The discretized logistic likelihood."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

from vaekit import Likelihood, Shape
from vaekit_likelihoods.density import Factorized, Sizes
from vaekit_likelihoods.levels import Levels, OnLevels, number
from vaekit_likelihoods.scale import Mode, Positive, Scale


class DiscretizedLogistic(Likelihood):
    r"""The probability that a logistic variable falls into the bin of x: $\sum_d \log [F(x_d + \frac w2) - F(x_d - \frac w2)]$.

    F is the distribution function $\operatorname{sigmoid}((x - \mu) / s)$ and w the distance between levels; the first and the
    last bin reach to infinity, so the levels' probabilities sum to 1. In nats per example. θ (N, *in_shape); in_shape is
    data_shape, with twice the features where the scale is predicted. Every difference is computed as
    $\operatorname{sigmoid}(a) \operatorname{sigmoid}(-b) (1 - e^{b - a})$, which loses nothing however far x is.

    Args:
        levels: how many, evenly from 0 to 1; 256 for bytes divided by 255.
        scale: of s: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the decoder.
        initial: the fixed s, or the one that learning starts from.
        floor: below every s that is not fixed.

    References:
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al.; 2016), https://arxiv.org/abs/1606.04934,
        appendix C.2, eq. 28.
    """

    name = "discretized-logistic"
    base_measure = "counting"

    def __init__(
        self,
        data_shape: Shape,
        *,
        levels: Levels = 256,
        scale: Mode = "scalar",
        initial: Positive = 0.1,
        floor: Positive = 1e-4,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.support = OnLevels(levels)
        self.scale = Scale(data_shape, scale, initial, floor)
        self.in_shape = self.scale.in_shape
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        loc, scale = self.scale(theta)
        return _DiscretizedLogistic(loc, scale, self.levels)


class _DiscretizedLogistic(Factorized):
    def __init__(self, loc: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(loc.shape)
        self.loc, self.scale, self.top = loc, scale, levels - 1

    @property
    def mean(self) -> Tensor:
        """The sum over the levels of the probability of lying above each, divided by how many there are."""
        mean = torch.zeros_like(self.loc)
        for k in range(self.top):
            mean = mean + torch.sigmoid((self.loc - (k + 0.5) / self.top) / self.scale)
        return mean / self.top

    def log_terms(self, value: Tensor) -> Tensor:
        k = number(value, self.top + 1)
        above = ((k + 0.5) / self.top - self.loc) / self.scale
        below = ((k - 0.5) / self.top - self.loc) / self.scale
        lower, upper = F.logsigmoid(above), F.logsigmoid(-below)
        inside = lower + upper + torch.log(-torch.expm1(-1 / (self.top * self.scale)))
        return torch.where(k == 0, lower, torch.where(k == self.top, upper, inside))

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            u = self.uniform(sample_shape, self.loc)
            x = self.loc + self.scale * (u.log() - torch.log1p(-u))
            return number(x, self.top + 1).to(self.loc.dtype) / self.top
