"""Means of several importance-weighted bounds."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, Space, Terms
from vaekit_losses.shared import in_groups, negative_bound, weighed, with_bound


class MIWAE(Loss):
    r"""$-\frac1M \sum_{m=1}^M \log \frac1K \sum_{k=1}^K w_{m,k}$ with $w = p(x, z \mid c) / q(z \mid x, c)$.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch: of M independent importance-weighted bounds of K draws
    each. It is `iwae` of K draws for M = 1, and the ELBO by M draws for K = 1. A larger K tightens the bound, and
    makes the gradient of the encoder mostly noise; a larger M takes noise away and leaves the bound as it is. Each of the
    M K draws costs a pass through the decoder.

    Its parts are, in nats per example: `miwae`, this; and at the same draws `reconstruction`,
    $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `nelbo`, the sum of the two
    (`profile` where the likelihood's training score is of no one density, so that neither it nor `miwae` is a bound); and
    `penalty`, where the latent has one, which is added to the loss only.

    Where the posterior has no density, as that of `point` has none, there is no bound: `reconstruction` and `penalty` alone are
    reported.

    Args:
        groups: bounds that the mean is over, M.
        samples: draws of z for each, K.

    References:
        Tighter Variational Bounds are Not Necessarily Better (Rainforth et al.; 2018), https://arxiv.org/abs/1802.04537,
        section 5: MIWAE.
    """

    name = "miwae"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        groups: Annotated[int, Field(ge=1, le=10_000)] = 4,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 5,
    ) -> None:
        super().__init__()
        self.groups, self.samples = groups, samples
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c, self.groups * self.samples)
        log_px, log_weight = weighed(trace)
        bound = negative_bound(in_groups(log_weight, self.groups))
        return Terms.of(trace, bound, with_bound(model, trace, log_px.mean(), trace.kl().mean(), miwae=bound))
