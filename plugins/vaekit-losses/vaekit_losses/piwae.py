"""The encoder by means of bounds, the decoder by one tighter bound."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, Loss, Shape, Space, Terms
from vaekit_losses.shared import in_groups, negative_bound, sides, weighed, with_bound


class PIWAE(Loss):
    r"""`miwae` of M times K draws for the encoder, `iwae` of all M K draws for the decoder.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. A tighter bound is better for the decoder, and a worse
    signal for the encoder: each gets what suits it. Two players take turns, each with draws of its own and without moving
    what is the other's.

    - `encoder`: the encoder and the latent, with all that the latent owns, such as the conditional priors between the layers
      of a hierarchy. It minimises $-\frac1M \sum_m \log \frac1K \sum_k w_{m,k}$.
    - `decoder`: the decoder, the likelihood, the prior and the context. It minimises
      $-\log \frac{1}{MK} \sum_{m,k} w_{m,k}$. What a context learns reaches the posterior too, by this bound.

    Where one of them has nothing to train, the other plays alone.

    Its parts are, in nats per example: `miwae` for the one and `iwae` for the other; and at the same draws
    `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `nelbo`,
    the sum of the two (`profile` where the likelihood's training score is of no one density); and `penalty`, where the latent
    has one, which is added to the loss only.

    Where the posterior has no density, as that of `point` has none, there is no bound: `reconstruction` and `penalty` alone are
    reported.

    Args:
        groups: bounds that the encoder's mean is over, M.
        samples: draws of z for each, K.

    References:
        Tighter Variational Bounds are Not Necessarily Better (Rainforth et al.; 2018), https://arxiv.org/abs/1802.04537,
        section 5: PIWAE.
    """

    name = "piwae"

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

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return sides(model)

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "encoder") -> Terms:
        trace = model(x, c, self.groups * self.samples)
        log_px, log_weight = weighed(trace)
        name = "iwae"
        if player == "encoder":
            name, log_weight = "miwae", in_groups(log_weight, self.groups)
        bound = negative_bound(log_weight)
        return Terms.of(trace, bound, with_bound(model, trace, log_px.mean(), trace.kl().mean(), **{name: bound}))
