"""The ELBO and the importance-weighted bound, mixed."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, Space, Terms
from vaekit_losses.shared import negative_bound, weighed, with_bound


class CIWAE(Loss):
    r"""$-\beta \, \mathrm{ELBO} - (1 - \beta) \log \frac1K \sum_{k=1}^K w_k$ with $w_k = p(x, z_k \mid c) / q(z_k \mid x, c)$.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. With the sign changed it is a lower bound on
    $\log p(x \mid c)$: the ELBO for β = 1, `iwae` for β = 0, and between them one that is looser than `iwae` and whose gradient
    for the encoder has less noise. The ELBO is of the same draws, with its KL in closed form where there is one.

    Its parts are, in nats per example: `iwae`, the negative importance-weighted bound; `reconstruction`,
    $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `nelbo`, the sum of the two
    (`profile` where the likelihood's training score is of no one density, so that neither it nor `iwae` is a bound); and
    `penalty`, where the latent has one, which is added to the loss only.

    Where the posterior has no density, as that of `point` has none, there is no bound: `reconstruction` and `penalty` alone are
    reported.

    Args:
        beta: share of the ELBO.
        samples: draws of z an example, K.

    References:
        Tighter Variational Bounds are Not Necessarily Better (Rainforth et al.; 2018), https://arxiv.org/abs/1802.04537,
        section 5: CIWAE.
    """

    name = "ciwae"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        beta: Annotated[float, Field(ge=0, le=1)] = 0.05,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 5,
    ) -> None:
        super().__init__()
        self.beta, self.samples = beta, samples
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c, self.samples)
        log_px, log_weight = weighed(trace)
        log_px, kl = log_px.mean(), trace.kl().mean()
        bound = negative_bound(log_weight)
        loss = torch.lerp(bound, kl - log_px, self.beta)
        return Terms.of(trace, loss, with_bound(model, trace, log_px, kl, iwae=bound))
