"""The evidence lower bound."""

from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, Space, Terms


class ELBO(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) + \beta \, \mathrm{KL}(q(z \mid x, c) \,\|\, p(z \mid c))$, mean over the batch.

    x (N, *data_shape) and c (N, C) give a scalar. Its parts are, in nats per example: `reconstruction`,
    $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `penalty`, where the latent
    has one; and `nelbo`, the negative ELBO at β = 1 whatever β is (`profile` where the likelihood's training score is of no
    one density, so that the sum is no bound).

    Args:
        beta: weight of the KL.
        samples: draws of z an example.
        normalize: `nats` for sums over dimensions, the true bound; `dims` divides the reconstruction by the number of data
            dimensions D and the KL by that of latents Z. This scales the loss only, never the parts: up to scale and a
            constant, a squared error with `dims` is the ELBO of a gaussian likelihood of variance βD / 2Z.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, eq. 3.
        beta-VAE (Higgins et al.; 2017), https://openreview.net/forum?id=Sy2fzU9gl, eq. 4.
    """

    name = "elbo"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 1,
        normalize: Literal["nats", "dims"] = "nats",
    ) -> None:
        super().__init__()
        self.beta = beta
        self.samples = samples
        by_dims = normalize == "dims"
        self.data_dims = prod(data_shape) if by_dims else 1
        self.latent_dims = root.dimensions if by_dims else 1
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c, self.samples)
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        loss = torch.sub(self.beta / self.latent_dims * kl, log_px, alpha=1 / self.data_dims)
        parts = {
            "nelbo" if model.likelihood.exact else "profile": kl.detach() - log_px.detach(),
            "reconstruction": -log_px.detach(),
            "kl" if trace.closed else "kl_mc": kl.detach(),
        }
        if trace.draw.penalty is not None:
            penalty = trace.draw.penalty.mean()
            parts["penalty"] = penalty.detach()
            loss = loss + penalty
        return Terms(loss, parts)
