"""The evidence lower bound with a weight on its KL."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, Space, Terms


class ExampleLoss(Loss):
    r"""$-\mathbb E_q \log p(x \mid z) + \beta \, \mathrm{KL}(q \| p(z))$, all of it given c.

    x (N, *data_shape) and c (N, C) give the mean over the batch, in nats per example. The
    parts are `reconstruction`; `kl` (`kl_mc` where it is estimated from the draws);
    `penalty`, where the latent has one; and `nelbo`, the negative ELBO at β = 1 whatever β
    is (`profile` where the likelihood scores with no one density: the sum is no bound).

    Args:
        beta: weight of the KL.

    References:
        beta-VAE (Higgins et al.; 2017),
        https://openreview.net/forum?id=Sy2fzU9gl, eq. 4.
    """

    name = "example"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        loss = self.beta * kl - log_px
        return Terms.of(trace, loss, model.in_nats(trace, log_px, kl))
