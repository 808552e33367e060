"""WAE-GAN, or adversarial autoencoder: the aggregated posterior is drawn to the prior by a discriminator."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, Activation, Loss, Shape, ShapeError, Space, Terms, Widths
from vaekit_adversarial.critics import dense_critic, divided, surprise


class WAEGAN(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) - \lambda \, \mathbb E_{q(z)} \log D(z)$, where D tells draws of p(z) from those of q.

    x (N, *data_shape) and c (N, C) give a scalar. In place of each posterior, as the KL does, the posterior averaged over the
    data, q(z), is held to the prior, so that q may be narrow, or a point: draws of the prior then decode to what looks like
    data, and codes lose nothing of x for it. This is no bound on log p(x); the one that is reported may be poor. Players
    take turns, each with parameters that the others leave alone:

    - `model`, all but the prior, minimises the above. D, the probability that z is of the prior, works through the draws;
    - `prior`, where it has anything to learn, minimises $-\mathbb E_{q(z)} \log p(z \mid c)$;
    - `discriminator` minimises $-\frac12 \mathbb E_{p(z)} \log D(z) - \frac12 \mathbb E_{q(z)} \log (1 - D(z))$.

    Its parts are, in nats per example: `nelbo` (`profile` where the likelihood's training score is of no one density),
    `reconstruction`, `kl` (`kl_mc` where it had to be estimated), `penalty`, where the latent has one, `adversarial`, the term
    that λ weighs, `prior_nll`, and of the discriminator `cross_entropy`: log 2 when it can but guess.

    z is the root latent, taken as a vector. Where there are layers below it, their KL is added as in the ELBO. The
    discriminator knows no context: it compares the averages of q and of p over all contexts, so that z may tell of c, and draws
    of the prior for one c need not be like the z of its examples. As it learns, the lowest loss is not the best model's: the
    last counts as the best.

    Args:
        weight: of the adversarial term, λ; where it is too large, z may become noise that says nothing of x.
        hidden: width of each layer of the discriminator.
        activation: after each.

    Raises:
        ShapeError: where the latent is of codes, through which no gradient comes back.

    References:
        Wasserstein Auto-Encoders (Tolstikhin, Bousquet, Gelly, Schölkopf; 2017), https://arxiv.org/abs/1711.01558,
        algorithm 1.
        Adversarial Autoencoders (Makhzani, Shlens, Jaitly, Goodfellow, Frey; 2015), https://arxiv.org/abs/1511.05644,
        section 2.
    """

    name = "wae-gan"
    selects = "last"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0,
        hidden: Widths = (256, 256),
        activation: Activation = "leaky-relu",
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError("a discriminator moves latents by its gradient; this latent is on a space of codes")
        self.weight = weight
        self.discriminator = dense_critic(root.dimensions, hidden, activation)
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        prior, rest = divided(model, model.prior)
        return {"model": rest, **({"prior": prior} if prior else {}), "discriminator": list(self.discriminator.parameters())}

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        if player == "model":
            return self._model(model, x, c)
        with torch.no_grad():
            z = model.posterior(x, c).sample()
        return self._prior(model, z, c) if player == "prior" else self._discriminator(model, z, c)

    def _model(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        trace = model(x, c)
        root, *below = trace.draw.sites
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        adversarial = F.softplus(-self.discriminator(root.z[0])).mean()
        loss = self.weight * adversarial - log_px
        for site in below:
            loss = loss + site.kl().mean()
        parts = {**model.in_nats(trace, log_px, kl), "adversarial": adversarial}
        return Terms.of(trace, loss, parts)

    def _prior(self, model: VAE, z: Tensor, c: Tensor) -> Terms:
        loss = -model.prior_z(c).log_prob(z).mean()
        return Terms(loss, {"prior_nll": loss.detach()})

    def _discriminator(self, model: VAE, z: Tensor, c: Tensor) -> Terms:
        with torch.no_grad():
            of_prior = model.prior_z(c).sample()
        return surprise(self.discriminator(of_prior), self.discriminator(z))
