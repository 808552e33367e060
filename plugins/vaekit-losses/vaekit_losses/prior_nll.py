"""The prior alone, fitted to the posteriors of a model that stays as it is."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, ConfigError, Loss, Shape, Space, Terms, distributions


class PriorNLL(Loss):
    r"""$-\mathbb E_{q(z \mid x, c)} \log p(z \mid c)$ of the root latent, mean over the batch, for the prior alone.

    x (N, *data_shape) and c (N, C) give a scalar. Only the prior learns, from draws of posteriors that stay as they are. It
    is least for the aggregated posterior, $p(z) = \mathbb E_x q(z \mid x)$. As the reconstruction and the entropy of posteriors
    do not depend on the prior, the ELBO rises by as many nats as this falls. For codes it is the second stage
    of training: the nats that they cost under the prior. The decoder does not run.

    Its part is `prior_nll`, this, in nats per example; by the measure of the latent's space, so that on a real space it may be
    below zero.

    Args:
        samples: draws of z an example.

    Raises:
        ConfigError: where the prior has no parameters to train.

    References:
        Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu; 2017), https://arxiv.org/abs/1711.00937,
        section 3.3: a prior over codes.
        From Variational to Deterministic Autoencoders (Ghosh et al.; 2019), https://arxiv.org/abs/1903.12436, section 4:
        density estimation after training.
    """

    name = "prior-nll"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 1,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        own = [p for p in model.prior.parameters() if p.requires_grad]
        if not own:
            raise ConfigError(f"loss 'prior-nll' trains the prior alone, and prior {model.prior.name!r} has nothing to train")
        return {"prior": own}

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "prior") -> Terms:
        with torch.no_grad():
            z = model.posterior(x, c).sample((self.samples,))
        prior = model.prior_z(c)
        with distributions.full_precision(x):
            loss = -prior.log_prob(z).mean()
        return Terms(loss, {"prior_nll": loss.detach()})
