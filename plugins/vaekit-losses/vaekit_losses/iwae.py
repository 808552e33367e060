"""The importance-weighted bound."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, Space, Terms
from vaekit_losses.shared import negative_bound, weighed, with_bound


class IWAE(Loss):
    r"""$-\log \frac1K \sum_{k=1}^K w_k$ with $w_k = p(x, z_k \mid c) / q(z_k \mid x, c)$, mean over the batch.

    x (N, *data_shape) and c (N, C) give a scalar. With the sign changed it is in expectation a lower bound on
    $\log p(x \mid c)$, which more draws never loosen: the ELBO for K = 1, and $\log p(x \mid c)$ itself in the limit, or for
    every K where the posterior is exact. The gradient goes through the draws, each weighted by $w_k / \sum_j w_j$. Every draw
    costs a pass through the decoder.

    The larger K, the less each single draw has to fit x: one good draw of K is enough. Posteriors become wide, so that the
    ELBO and reconstructions from the code may become poorer while log p(x) improves.

    Its parts are, in nats per example: `iwae`, this; and at the same draws `reconstruction`,
    $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `nelbo`, the sum of the two
    (`profile` where the likelihood's training score is of no one density, so that neither it nor `iwae` is a bound); and
    `penalty`, where the latent has one, which is added to the loss only.

    It needs densities of the latents, as the ELBO does. For codes chosen without chance all draws are one, and every K gives
    the same. A point of a real space, as of latent `point`, has no density: what is minimised for it is no bound, and
    `reconstruction` and `penalty` alone are reported.

    Args:
        samples: draws of z an example, K; the paper has 1, 5 and 50.

    References:
        Importance Weighted Autoencoders (Burda, Grosse, Salakhutdinov; 2015), https://arxiv.org/abs/1509.00519, eq. 8.
    """

    name = "iwae"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 5,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c, self.samples)
        log_px, log_weight = weighed(trace)
        bound = negative_bound(log_weight)
        return Terms.of(trace, bound, with_bound(model, trace, log_px.mean(), trace.kl().mean(), iwae=bound))
