"""The ELBO with a penalty on the covariance of the aggregated posterior."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Space, Terms, distributions

Weight = Annotated[float, Field(ge=0, le=1e6)]


class DIP(Loss):
    r"""$-\mathrm{ELBO} + \lambda_o \sum_{i \ne j} \Sigma_{ij}^2 + \lambda_d \sum_i (\Sigma_{ii} - 1)^2$.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. Σ (D, D) is a covariance of the root latent, which is
    drawn to the identity: for `i` that of the posterior means, $\operatorname{Cov}_x \mu(x)$; for `ii` that of the aggregated
    posterior itself, $\operatorname{Cov}_x \mu(x) + \mathbb E_x \operatorname{Cov}_{q(z \mid x)} z$. It is that of the batch,
    with the divisor N, so that examples that are there twice change nothing.

    Its parts are, in nats per example: `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be
    estimated from the draws); `nelbo`, the sum of the two (`profile` where the likelihood's training score is of no one
    density); and `penalty`, where the latent has one, which is added to the loss only. Beside them are the two sums,
    `off_diagonal` and `diagonal`, without their weights.

    Args:
        kind: `i` for the covariance of the posterior means, `ii` for that of the aggregated posterior.
        off_diagonal: weight $\lambda_o$ of what makes dimensions depend on each other.
        diagonal: weight $\lambda_d$ of what takes variances away from 1.

    Raises:
        ShapeError: where the latent is not on a real space.
        ConfigError: in training, where the posterior has no mean, or for `ii` no covariance, in closed form.

    References:
        Variational Inference of Disentangled Latent Concepts from Unlabeled Observations (Kumar et al.; 2018),
        https://arxiv.org/abs/1711.00848, eq. 6 and 7: DIP-VAE-I and DIP-VAE-II.
    """

    name = "dip"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        kind: Literal["i", "ii"] = "i",
        off_diagonal: Weight = 10.0,
        diagonal: Weight = 10.0,
    ) -> None:
        super().__init__()
        if root.support != "real":
            raise ShapeError(f"a covariance is of latents on a real space; this latent is on a space of {root.support}")
        self.of_draws = kind == "ii"
        self.off_diagonal, self.diagonal = off_diagonal, diagonal
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        q = trace.draw.sites[0].q
        with distributions.full_precision(x):
            covariance = _of_means(q) + _within(q) if self.of_draws else _of_means(q)
        variance = covariance.diagonal()
        off_diagonal = (covariance - torch.diag(variance)).square().sum()
        diagonal = (variance - 1).square().sum()
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        parts = {**model.in_nats(trace, log_px, kl), "off_diagonal": off_diagonal, "diagonal": diagonal}
        return Terms.of(trace, kl - log_px + self.off_diagonal * off_diagonal + self.diagonal * diagonal, parts)


def _of_means(q: Distribution) -> Tensor:
    """The covariance of the means over the batch, (D, D)."""
    try:
        means = q.mean.flatten(1)
    except NotImplementedError:
        raise ConfigError(
            "loss 'dip': the posterior of this latent has no mean in closed form: loss=factor takes any latent on a real space"
        ) from None
    centred = means - means.mean(0)
    return centred.T @ centred / len(means)


def _within(q: Distribution) -> Tensor:
    """The mean over the batch of the covariance of each posterior, (D, D)."""
    if isinstance(q, MultivariateNormal):
        return q.covariance_matrix.mean(0)
    if isinstance(q, Independent) and not q.base_dist.event_shape:
        return torch.diag(q.variance.flatten(1).mean(0))
    raise ConfigError("loss 'dip': the posterior of this latent has no covariance in closed form: kind=i needs none")
