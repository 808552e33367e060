"""A categorical distribution over levels."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit import Likelihood, Shape, distributions, widen
from vaekit_likelihoods.density import Factorized, Sizes, choose
from vaekit_likelihoods.levels import Levels, OnLevels, number, values
from vaekit_likelihoods.scale import apart


class Categorical(Likelihood):
    r"""$\log p(x \mid \theta) = \sum_d \log \operatorname{softmax}(\theta_d)_{k(x_d)}$, in nats per example; k(x) is x's level.

    θ (N, *in_shape) gives a probability of each of the evenly spaced levels from 0 to 1 of every dimension; in_shape has
    `levels` times the features of data_shape.

    Args:
        levels: how many; 256 for bytes divided by 255.

    References:
        Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner, Kavukcuoglu; 2016), https://arxiv.org/abs/1601.06759,
        section 2.2.
    """

    name = "categorical"
    base_measure = "counting"

    def __init__(self, data_shape: Shape, *, levels: Levels = 256) -> None:
        super().__init__()
        self.levels = levels
        self.support = OnLevels(levels)
        self.in_shape = widen(data_shape, times=levels)
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        (logits,) = distributions.promote(theta)
        return _Categorical(apart(logits, self.levels).log_softmax(-1))


class _Categorical(Factorized):
    def __init__(self, log_p: Tensor) -> None:
        super().__init__(log_p.shape[:-1])
        self.log_p = log_p

    @property
    def mean(self) -> Tensor:
        return self.log_p.exp() @ values(self.log_p.shape[-1], self.log_p)

    def log_terms(self, value: Tensor) -> Tensor:
        k = number(value, self.log_p.shape[-1])
        return self.log_p.expand(*k.shape, -1).gather(-1, k[..., None])[..., 0]

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            return values(self.log_p.shape[-1], self.log_p)[choose(self.log_p, sample_shape)]
