"""The ELBO with less of its KL, and a discrepancy between the aggregated posterior and the prior."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Space, Terms
from vaekit_losses.discrepancy import SCALES, Kernel, Scales, from_prior
from vaekit_losses.shared import all_but_prior, with_layers_below


class Info(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) + (1 - \alpha) \, \mathrm{KL} + (\alpha + \lambda - 1) \, \mathrm{MMD}^2(q(z), p(z))$.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. α takes away from the KL of q(z | x, c) and p(z | c),
    which keeps latents from telling of x. λ draws the aggregate of posteriors, $q(z) = \mathbb E_x q(z \mid x)$, to the prior
    instead, by the squared maximum mean discrepancy
    $\mathbb E k(z, z') + \mathbb E k(\zeta, \zeta') - 2 \, \mathbb E k(z, \zeta)$ of one draw z an example and as many draws ζ
    of the prior, estimated without bias, so that it may be below zero. k is a mean over scales s, with $t = 2 D s$ for D
    dimensions, which is the mean squared distance between two standard normal draws times s, of
    $t / (t + \|z - z'\|^2)$ (`imq`) or $\exp(-\|z - z'\|^2 / t)$ (`rbf`). Both terms are of the
    root latent; layers below it add their KL as it is. For α = 1 the prior is not trained. Each process that trains estimates
    from its own part of a batch.

    Its parts are, in nats per example: `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be
    estimated from the draws); `nelbo`, the sum of the two (`profile` where the likelihood's training score is of no one
    density); and `penalty`, where the latent has one, which is added to the loss only. Beside them is `mmd`, the discrepancy,
    which is at most 2.

    Args:
        alpha: the weight α of the mutual information of x and z; 0 for the whole KL, 1 for none.
        weight: the weight λ of the divergence from the aggregated posterior to the prior.
        kernel: `imq`, the inverse multiquadratic, or `rbf`, the Gaussian.
        scales: of the kernel, by multiples of the mean squared distance.

    Raises:
        ShapeError: where the latent is on a space of codes, which have no gradient.
        ConfigError: where α + λ is less than 1, so that the discrepancy would be wanted large.

    References:
        InfoVAE: Information Maximizing Variational Autoencoders (Zhao, Song, Ermon; 2017), https://arxiv.org/abs/1706.02262:
        the objective, with the maximum mean discrepancy as its divergence.
        A Kernel Two-Sample Test (Gretton et al.; 2012), https://jmlr.org/papers/v13/gretton12a.html: the unbiased estimate.
    """

    name = "info"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.0,
        weight: Annotated[float, Field(ge=0, le=1e6)] = 100.0,
        kernel: Kernel = "imq",
        scales: Scales = SCALES,
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError("a discrepancy moves latents by its gradient; this latent is on a space of codes, which have none")
        if alpha + weight < 1:
            raise ConfigError("loss 'info': the weight of the discrepancy is alpha + weight - 1: give at least 1 together")
        self.alpha, self.weight, self.kernel, self.scales = alpha, weight, kernel, scales
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return all_but_prior(model) if self.alpha == 1 else super().players(model)

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        root = trace.draw.sites[0]
        log_px, discrepancy = trace.log_px().mean(), from_prior(root, self.kernel, self.scales)
        parts = {**model.in_nats(trace, log_px, trace.kl().mean()), "mmd": discrepancy}
        loss = (1 - self.alpha) * root.kl().mean() + (self.alpha + self.weight - 1) * discrepancy - log_px
        return Terms.of(trace, with_layers_below(loss, trace), parts)
