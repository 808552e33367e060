"""Relaxed categories: the distribution on the simplex that nears one-hot vectors as its temperature falls."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import distributions

_LEAST = 1e-34  # near the least that float32 holds; a coordinate of less is taken for 0


class Relaxed(Distribution):
    r"""Independent rows on the simplex, $z = \operatorname{softmax}((\log \pi + g) / \tau)$ with Gumbel noise g.

    $$\log p(z) = \log \Gamma(K) + (K - 1) \log \tau + \sum_k (\log \pi_k - (\tau + 1) \log z_k)
    - K \log \sum_k \pi_k z_k^{-\tau}$$

    for each row of K, by all coordinates but the last, summed over rows: computed in logarithms, where nothing overflows.

    Floats cannot tell a coordinate below $\epsilon = 10^{-34}$ from 0. With m of K above that, those below give the row their
    probability to be there, and the others its density, by all of them but one:

    $$\log p(z) = \log \Gamma(m) + (m - 1) \log \tau + \sum_{z_k > \epsilon} (\log \pi_k - (\tau + 1) \log z_k)
    - m \log \sum_k \pi_k \max(z_k, \epsilon)^{-\tau}.$$

    So two densities of one draw have the right ratio however cold they are; near temperature 0 they are $\pi_k$ of its class.

    Args:
        logits: (N, *, K); normalised here.
        temperature: τ.

    References:
        The Concrete Distribution (Maddison, Mnih, Teh; 2016), https://arxiv.org/abs/1611.00712, definition 1.
        Categorical Reparameterization with Gumbel-Softmax (Jang, Gu, Poole; 2016), https://arxiv.org/abs/1611.01144, eq. 2
        and 3.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: float) -> None:
        self.log_pi = distributions.promote(logits)[0].log_softmax(-1)
        self.temperature = temperature
        super().__init__(logits.shape[:1], logits.shape[1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        gumbel = -self.log_pi.new_empty(*sample_shape, *self.log_pi.shape).exponential_().log()
        return ((self.log_pi + gumbel) / self.temperature).softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        there = value > _LEAST
        log_z = value.clamp(min=_LEAST).log()
        score = self.log_pi - self.temperature * log_z
        m = there.sum(-1).to(score.dtype)
        constant = m.lgamma() + (m - 1) * math.log(self.temperature)
        rows = (score - log_z).where(there, 0).sum(-1) - m * score.logsumexp(-1) + constant
        return rows.flatten(value.dim() - len(self.event_shape)).sum(-1) if len(self.event_shape) > 1 else rows
