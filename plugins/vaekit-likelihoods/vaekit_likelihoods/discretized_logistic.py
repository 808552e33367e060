"""The discretized logistic likelihood."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit import Likelihood, Shape
from vaekit_likelihoods.density import Factorized, Sizes
from vaekit_likelihoods.levels import Levels, OnLevels, number
from vaekit_likelihoods.logistic import draw, log_bin, mean_level
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
        appendix C.5.
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
        return mean_level(self.loc, self.scale, self.top)

    def log_terms(self, value: Tensor) -> Tensor:
        return log_bin(number(value, self.top + 1), self.loc, self.scale, self.top)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            return draw(self.uniform(sample_shape, self.loc), self.loc, self.scale, self.top)
