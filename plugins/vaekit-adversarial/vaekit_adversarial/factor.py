"""FactorVAE: the ELBO and a price on total correlation, which a discriminator estimates."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, Activation, Loss, Shape, ShapeError, Space, Terms, Widths
from vaekit_adversarial.critics import dense_critic, surprise


class Factor(Loss):
    r"""$-\mathrm{ELBO} + \gamma \, \mathrm{KL}(q(z) \,\|\, \prod_d q(z_d))$, this total correlation as a discriminator sees it.

    x (N, *data_shape) and c (N, C) give a scalar. q(z) is the posterior averaged over the data: the price is on dimensions of
    z that depend on each other there, and not, as with a weight on the KL, on what z says of x. Two players take turns, each
    with parameters that the other leaves alone:

    - `model` minimises the above, with the estimate $\mathbb E_{q(z)} \log \frac{D(z)}{1 - D(z)}$;
    - `discriminator` minimises $-\frac12 \mathbb E_{q(z)} \log D(z) - \frac12 \mathbb E_{\bar q(z)} \log (1 - D(z))$, where
      $\bar q$ draws each dimension from another example: a permutation of the batch for each. The paper permutes a second
      batch; here it is the same, so that all of it counts for both terms, and its z are drawn anew.

    Its parts are, in nats per example: `nelbo` (`profile` where the likelihood's training score is of no one density),
    `reconstruction`, `kl` (`kl_mc` where it had to be estimated), `penalty`, where the latent has one, `tc`, the estimate, and
    of the discriminator `cross_entropy`, which is log 2 by guessing. The estimate is as good as the discriminator: it lags
    behind in the first epochs, and with many dimensions it is too low.

    z is the root latent, taken as a vector. The discriminator knows no context: what dimensions have in common because all
    depend on c counts as correlation too. As its estimate moves, the lowest loss need not be the best model's: the last
    counts as the best.

    Args:
        gamma: weight of the total correlation, γ.
        hidden: width of each layer of the discriminator; the paper has six of 1000.
        activation: after each.

    Raises:
        ShapeError: where the latent is not on a real space.

    References:
        Disentangling by Factorising (Kim, Mnih; 2018), https://arxiv.org/abs/1802.05983, eq. 2 and 3, algorithm 2.
    """

    name = "factor"
    selects = "last"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        gamma: Annotated[float, Field(ge=0, le=1e6)] = 10.0,
        hidden: Widths = (256, 256),
        activation: Activation = "leaky-relu",
    ) -> None:
        super().__init__()
        if root.support != "real":
            raise ShapeError(f"total correlation is of latents on a real space; this latent is on a space of {root.support}")
        self.gamma = gamma
        self.discriminator = dense_critic(root.dimensions, hidden, activation)
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return {**super().players(model), "discriminator": list(self.discriminator.parameters())}

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        return self._discriminator(model, x, c) if player == "discriminator" else self._model(model, x, c)

    def _model(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        trace = model(x, c)
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        tc = self.discriminator(trace.draw.sites[0].z[0]).mean()
        parts = {**model.in_nats(trace, log_px, kl), "tc": tc}
        return Terms.of(trace, kl - log_px + self.gamma * tc, parts)

    def _discriminator(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        with torch.no_grad():
            z = model.posterior(x, c).sample()
        return surprise(self.discriminator(z), self.discriminator(permuted(z)))


def permuted(z: Tensor) -> Tensor:
    """z (N, *D), as (N, D) with each column in an order of its own."""
    z = z.flatten(1)
    return z.gather(0, torch.rand_like(z).argsort(0))
