"""The beta likelihood."""

from math import log1p
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.distributions import Beta as Betas
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaekit import Likelihood, Shape
from vaekit_likelihoods.density import Factorized, Sizes
from vaekit_likelihoods.scale import Mode, Positive, Scale
from vaekit_likelihoods.stirling import HALF_LOG_2PI, rest


class Beta(Likelihood):
    r"""$\sum_d (\alpha_d - 1) \log x_d + (\beta_d - 1) \log(1 - x_d) - \log B(\alpha_d, \beta_d)$, in nats per example.

    With the mean $\mu = \operatorname{sigmoid}(\theta)$ and the concentration ν: $\alpha = \mu \nu$, $\beta = (1 - \mu) \nu$.
    θ (N, *in_shape) gives a density on the open interval (0, 1), over x of (N, *data_shape); in_shape is data_shape, with twice
    the features where ν is predicted. Where α or β is below 1 the density is without bound at an end, and many a pixel of
    bytes is at an end: there it has no value, so exact 0 and 1 are refused. A `margin` m takes them in: the distribution is
    stretched over $(-m, 1 + m)$, and x takes the place of $\frac{x + m}{1 + 2m}$. It is then a density on that interval, still
    normalised, and draws and means may be as far outside of [0, 1] as m.

    Args:
        concentration: of ν: `fixed`; `scalar`, one learned number; `pixel`, one learned number a dimension; `predicted` by the
            decoder.
        initial: the fixed ν, or the one that learning starts from.
        floor: below every ν that is not fixed.
        margin: how far the interval reaches beyond 0 and 1; 0.002 is half a level of bytes, 0 takes neither end in.

    References:
        Beta Regression for Modelling Rates and Proportions (Ferrari, Cribari-Neto; 2004),
        https://doi.org/10.1080/0266476042000214501: the density by its mean and a precision.
    """

    name = "beta"
    base_measure = "lebesgue"

    def __init__(
        self,
        data_shape: Shape,
        *,
        concentration: Mode = "scalar",
        initial: Positive = 4.0,
        floor: Positive = 1e-2,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.support = _Between(-margin, 1 + margin)
        self.concentration = Scale(data_shape, concentration, initial, floor)
        self.in_shape = self.concentration.in_shape
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        logits, concentration = self.concentration(theta)
        return _Beta(logits, concentration, self.margin)


class _Between(Constraint):
    """Within an open interval."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def check(self, value: Tensor) -> Tensor:
        return (value > self.low) & (value < self.high)

    def __str__(self) -> str:
        hint = "" if self.low < 0 else "; likelihood.margin takes 0 and 1 in"
        return f"between {self.low + 0.0:g} and {self.high:g}{hint}"


class _Beta(Factorized):
    def __init__(self, logits: Tensor, concentration: Tensor, margin: float) -> None:
        super().__init__(logits.shape)
        self.logits, self.concentration, self.margin = logits, concentration, margin

    @property
    def mean(self) -> Tensor:
        return self._stretched(self.logits.sigmoid())

    def log_terms(self, value: Tensor) -> Tensor:
        r"""With $-\nu \operatorname{KL}(\mu \| x)$ in one, as the terms of $\log B$ alone lose all digits where ν is large."""
        u = (value + self.margin) / (1 + 2 * self.margin)
        inside = (u > 0) & (u < 1)
        u = torch.where(inside, u, 0.5)
        log_nu, log_mean, log_other = self.concentration.log(), F.logsigmoid(self.logits), F.logsigmoid(-self.logits)
        log_a, log_b = log_mean + log_nu, log_other + log_nu
        a, b = log_a.exp(), log_b.exp()
        fit = a * (u.log() - log_mean) + b * (torch.log1p(-u) - log_other)
        spread = 0.5 * (log_nu + log_mean + log_other) - HALF_LOG_2PI - u.log() - torch.log1p(-u)
        rests = rest(self.concentration, log_nu) - rest(a, log_a) - rest(b, log_b)
        return torch.where(inside, fit + spread + rests - log1p(2 * self.margin), -torch.inf)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            mean, finfo = self.logits.sigmoid(), torch.finfo(self.logits.dtype)
            a, b = (share * self.concentration for share in (mean, 1 - mean))
            u = Betas(a.clamp(min=finfo.tiny), b.clamp(min=finfo.tiny), validate_args=False).sample(torch.Size(sample_shape))
            least, below_one = (4 * finfo.eps, 4 * finfo.eps) if self.margin else (finfo.tiny, finfo.eps / 2)
            return self._stretched(u.clamp(least, 1 - below_one))

    def _stretched(self, u: Tensor) -> Tensor:
        return u * (1 + 2 * self.margin) - self.margin
