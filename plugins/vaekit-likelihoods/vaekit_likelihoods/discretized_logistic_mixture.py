"""A mixture of discretized logistic distributions."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from vaekit import Likelihood, Shape, ShapeError, distributions, widen
from vaekit_likelihoods.density import Factorized, Sizes, choose
from vaekit_likelihoods.levels import Levels, OnLevels, number
from vaekit_likelihoods.logistic import draw, log_bin, mean_level
from vaekit_likelihoods.scale import Positive, Scale, apart

Components = Annotated[int, Field(ge=1, le=1000)]


class DiscretizedLogisticMixture(Likelihood):
    r"""$\sum_d \log \sum_k \pi_{dk} [F_{dk}(x_d + \frac w2) - F_{dk}(x_d - \frac w2)]$, in nats: a mixture in each dimension.

    F is the distribution function $\operatorname{sigmoid}((x - \mu) / s)$ and w the distance between levels; the first and the
    last bin reach to infinity, so the levels' probabilities sum to 1. θ (N, *in_shape) gives a distribution over x of
    (N, *data_shape). For each dimension it holds K logits of π, K locations, which are counted from evenly spaced ones, and K
    raw scales: in_shape has 3K times the features of data_shape. One component is a `discretized-logistic` with a predicted
    scale, its location moved by a half.

    With `coupled` the three channels of a pixel depend on each other, linearly: all have one component in common, the
    locations of green are shifted by $a (r - \frac12)$ and those of blue by $b (r - \frac12) + c (g - \frac12)$, with a, b and
    c from θ for each component; in_shape is (10K, H, W). The mean is then exact but where clipping to [0, 1] bends it: it takes
    the channels before at their means.

    Args:
        components: of each mixture, K.
        levels: how many, evenly from 0 to 1; 256 for bytes divided by 255.
        coupled: whether the channels of an image of three depend on each other.
        initial: the scale that learning starts from.
        floor: below every scale.

    Raises:
        ShapeError: with `coupled`, for anything but images of three channels.

    References:
        PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications (Salimans,
        Karpathy, Chen, Kingma; 2017), https://arxiv.org/abs/1701.05517, section 2.1, and 2.2 for `coupled`.
    """

    name = "discretized-logistic-mixture"
    base_measure = "counting"

    def __init__(
        self,
        data_shape: Shape,
        *,
        components: Components = 5,
        levels: Levels = 256,
        coupled: bool = False,
        initial: Positive = 0.1,
        floor: Positive = 1e-4,
    ) -> None:
        super().__init__()
        if coupled and (len(data_shape) != 3 or data_shape[0] != 3):
            raise ShapeError(f"coupled is for images (3, height, width), not for shape {tuple(data_shape)}")
        self.components, self.levels, self.coupled = components, levels, coupled
        self.support = OnLevels(levels)
        self.scale = Scale(data_shape, "predicted", initial, floor)
        self.in_shape = (10 * components, *data_shape[1:]) if coupled else widen(data_shape, times=3 * components)
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        (theta,) = distributions.promote(theta)
        k = self.components
        if self.coupled:
            logits, theta = apart(theta[:, :k], k), theta[:, k:]
            loc, raw, slopes = apart(theta, 3 * k).chunk(3, -1)
            return _Coupled(logits, self._spread(loc), self.scale.of(raw, loc), self.levels, slopes)
        logits, loc, raw = apart(theta, 3 * k).chunk(3, -1)
        return _Mixture(logits, self._spread(loc), self.scale.of(raw, loc), self.levels)

    def _spread(self, loc: Tensor) -> Tensor:
        k = self.components
        return loc + (torch.arange(k, device=loc.device, dtype=loc.dtype) + 0.5) / k


class _Mixture(Factorized):
    """Mixtures of their own in all dimensions; everything is (N, *event, K)."""

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(loc.shape[:-1])
        self.log_weights = logits.log_softmax(-1)
        self.loc, self.scale, self.top = loc, scale, levels - 1

    @property
    def mean(self) -> Tensor:
        return (self.log_weights.exp() * mean_level(self.loc, self.scale, self.top)).sum(-1)

    def log_terms(self, value: Tensor) -> Tensor:
        k = number(value, self.top + 1)[..., None]
        return (self.log_weights + log_bin(k, self.loc, self.scale, self.top)).logsumexp(-1)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            loc, scale = self._chosen(sample_shape, self.loc, self.scale)
            return draw(self.uniform(sample_shape, loc), loc, scale, self.top)

    def _chosen(self, sample_shape: Sizes, *parameters: Tensor) -> list[Tensor]:
        """The parameters of a component drawn for each dimension."""
        k = choose(self.log_weights, sample_shape)
        k = k.expand(*sample_shape, *self.loc.shape[:-1])[..., None]
        return [p.expand(*sample_shape, *p.shape).gather(-1, k)[..., 0] for p in parameters]


class _Coupled(_Mixture):
    """One mixture a pixel, whose components have three channels: logits are (N, 1, H, W, K), all else (N, 3, H, W, K)."""

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, levels: int, slopes: Tensor) -> None:
        super().__init__(logits, loc, scale, levels)
        self.slopes = slopes

    @property
    def mean(self) -> Tensor:
        means: list[Tensor] = []
        for channel in range(3):
            loc = _shifted(self.loc, self.slopes, means, channel)
            means.append(mean_level(loc, self.scale.select(-4, channel), self.top))
        return (self.log_weights.exp() * torch.stack(means, -4)).sum(-1)

    def log_terms(self, value: Tensor) -> Tensor:
        """Of each pixel, (…, 1, H, W)."""
        terms = self.log_weights
        given = value[..., None].unbind(-4)
        for channel in range(3):
            loc = _shifted(self.loc, self.slopes, given, channel)
            k = number(given[channel], self.top + 1)
            terms = terms + log_bin(k, loc, self.scale.select(-4, channel), self.top).unsqueeze(-4)
        return terms.logsumexp(-1)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad():
            loc, scale, slopes = (p[..., None] for p in self._chosen(sample_shape, self.loc, self.scale, self.slopes))
            uniform = self.uniform(sample_shape, self.loc)[..., None]
            drawn: list[Tensor] = []
            for channel in range(3):
                where = _shifted(loc, slopes, drawn, channel)
                drawn.append(draw(uniform.select(-4, channel), where, scale.select(-4, channel), self.top))
            return torch.stack(drawn, -4)[..., 0]


def _shifted(loc: Tensor, slopes: Tensor, before: Sequence[Tensor], channel: int) -> Tensor:
    """The locations of a channel, given the channels before it."""
    here = loc.select(-4, channel)
    if channel == 1:
        return here + slopes.select(-4, 0) * (before[0] - 0.5)
    if channel == 2:
        return here + slopes.select(-4, 1) * (before[0] - 0.5) + slopes.select(-4, 2) * (before[1] - 0.5)
    return here
