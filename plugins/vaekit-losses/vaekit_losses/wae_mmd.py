"""Reconstruction, and a discrepancy between the aggregated posterior and the prior."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, Loss, Shape, ShapeError, Space, Terms
from vaekit_losses.discrepancy import SCALES, Kernel, Scales, from_prior
from vaekit_losses.shared import all_but_prior, with_layers_below


class WAEMMD(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) + \lambda \, \mathrm{MMD}^2(q(z), p(z))$, mean over the batch.

    x (N, *data_shape) and c (N, C) give a scalar. Not each posterior but their aggregate $q(z) = \mathbb E_x q(z \mid x)$ is
    drawn to the prior, so that posteriors may be as narrow as they like, or points. The distance is the squared maximum mean
    discrepancy $\mathbb E k(z, z') + \mathbb E k(\zeta, \zeta') - 2 \, \mathbb E k(z, \zeta)$ of one draw z an example and as
    many draws ζ of the prior, estimated without bias, so that it may be below zero. k is a mean over scales s, with
    $t = 2 D s$ for D dimensions, which is the mean squared distance between two standard normal draws times s, of
    $t / (t + \|z - z'\|^2)$ (`imq`) or $\exp(-\|z - z'\|^2 / t)$ (`rbf`). It is of the root latent; layers below it add their
    KL. The prior is not trained. Each process that trains estimates from its own part of a batch.

    Its parts are, in nats per example: `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be
    estimated from the draws); `nelbo`, the sum of the two (`profile` where the likelihood's training score is of no one
    density); and `penalty`, where the latent has one, which is added to the loss only. Beside them is `mmd`, the discrepancy,
    which is at most 2.

    Args:
        weight: the weight λ of the discrepancy.
        kernel: `imq`, the inverse multiquadratic, or `rbf`, the Gaussian.
        scales: of the kernel, by multiples of the mean squared distance.

    Raises:
        ShapeError: where the latent is on a space of codes, which have no gradient.

    References:
        Wasserstein Auto-Encoders (Tolstikhin et al.; 2018), https://arxiv.org/abs/1711.01558, algorithm 2.
        A Kernel Two-Sample Test (Gretton et al.; 2012), https://jmlr.org/papers/v13/gretton12a.html: the unbiased estimate.
    """

    name = "wae-mmd"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        weight: Annotated[float, Field(ge=0, le=1e6)] = 100.0,
        kernel: Kernel = "imq",
        scales: Scales = SCALES,
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError("a discrepancy moves latents by its gradient; this latent is on a space of codes, which have none")
        self.weight, self.kernel, self.scales = weight, kernel, scales
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return all_but_prior(model)

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        discrepancy = from_prior(trace.draw.sites[0], self.kernel, self.scales)
        log_px = trace.log_px().mean()
        parts = {**model.in_nats(trace, log_px, trace.kl().mean()), "mmd": discrepancy}
        return Terms.of(trace, with_layers_below(self.weight * discrepancy - log_px, trace), parts)
