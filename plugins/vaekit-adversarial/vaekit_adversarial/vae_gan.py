"""VAE-GAN: reconstructions are compared by what a discriminator sees in them, and have to pass for data."""

from math import prod
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import VAE, ConfigError, Loss, Shape, Space, Terms, Trace, Widths, distributions, mask
from vaekit_adversarial.critics import conv_critic, dense_critic, divided, surprise

Weight = Annotated[float, Field(ge=0, le=1e6)]


class VAEGAN(Loss):
    r"""Encoder: $\mathrm{KL}(q \,\|\, p) + \mathcal L_D$; decoder: $\gamma \mathcal L_D + \mathcal L_G$; and a discriminator D.

    x (N, *data_shape) and c (N, C) give a scalar. $\mathcal L_D = \mathbb E_q \tfrac12 \| D_l(x) - D_l(\tilde x) \|^2$, up to a
    constant the negative log-density of what D sees in x, its features $D_l$, under a normal distribution of variance one about
    what it sees in the reconstruction $\tilde x$, the mean of p(x | z, c). $x_p$ is that for z drawn from the prior. Three
    players take turns, each with parameters that the others leave alone:

    - `encoder`, with latent, prior and context, minimises
      $\mathrm{KL}(q \,\|\, p) + \mathcal L_D - \kappa \, \mathbb E_q \log p(x \mid z, c)$, and not what fools D;
    - `decoder`, with the likelihood, minimises
      $\gamma \mathcal L_D + \mathcal L_G - \kappa \, \mathbb E_q \log p(x \mid z, c)$, where
      $\mathcal L_G = -\tfrac12 \mathbb E \log D(\tilde x) - \tfrac12 \mathbb E \log D(x_p)$ falls as it fools D;
    - `discriminator` minimises $-\tfrac12 \mathbb E \log D(x) - \tfrac14 \mathbb E \log (1 - D(\tilde x))
      - \tfrac14 \mathbb E \log (1 - D(x_p))$, and nothing of $\mathcal L_D$.

    The paper has κ = 0, no pixels at all; its decoder has $\log (1 - D)$ where here it is $-\log D$, which has the same
    optimum and a gradient from the start; and made images weigh twice as much as data.

    Its parts are, in nats per example: `nelbo` (`profile` where the likelihood's training score is of no one density), which is
    not what is minimised and may be poor, `reconstruction`, `kl` (`kl_mc` where it had to be estimated), `penalty`, where the
    latent has one, `features`, $\mathcal L_D$, `adversarial`, $\mathcal L_G$, and of the discriminator `cross_entropy`: log 2
    when it can but guess.

    The likelihood's mean has to be a function of θ with a gradient. The discriminator knows no context, and takes what looks
    like data for data whatever c it was made for; of sequences of several lengths it sees what lies within those of x. The
    losses of players do not fall together, and the lowest says nothing of which model is best: the last counts as that.

    Args:
        gamma: weight of the features for the decoder, γ, against fooling the discriminator.
        pixels: weight of the log-likelihood, κ; 0 to compare features alone.
        width: channels of the discriminator's first layer for images; each further one has twice as many.
        depth: how many such layers, each of stride 2.
        hidden: width of each layer of the discriminator for other data.

    References:
        Autoencoding beyond pixels using a learned similarity metric (Larsen, Sønderby, Larochelle, Winther; 2015),
        https://arxiv.org/abs/1512.09300, eq. 5 to 10, algorithm 1.
    """

    name = "vae-gan"
    selects = "last"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        gamma: Weight = 1.0,
        pixels: Weight = 1.0,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        depth: Annotated[int, Field(ge=1, le=6)] = 2,
        hidden: Widths = (256, 256),
    ) -> None:
        super().__init__()
        self.gamma, self.pixels = gamma, pixels
        image = len(data_shape) == 3
        dimensions = prod(data_shape)
        self.discriminator = conv_critic(data_shape, width, depth) if image else dense_critic(dimensions, hidden, "leaky-relu")
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        decoder, encoder = divided(model, model.decoder, model.likelihood)
        return {"encoder": encoder, "decoder": decoder, "discriminator": list(self.discriminator.parameters())}

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "encoder") -> Terms:
        if player == "encoder":
            return self._encoder(model, x, c)
        return self._decoder(model, x, c) if player == "decoder" else self._discriminator(model, x, c)

    def _encoder(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        trace = model(x, c)
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        features = self._distance(x, self._features(_mean(trace.px), x))
        parts = {**model.in_nats(trace, log_px, kl), "features": features}
        return Terms.of(trace, kl + features - self.pixels * log_px, parts)

    def _decoder(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        trace = model(x, c)
        log_px = trace.log_px().mean()
        rebuilt, drawn = self._features(_mean(trace.px), x), self._features(self._drawn(model, trace, c), x)
        features = self._distance(x, rebuilt)
        adversarial = F.softplus(-self.discriminator.judge(torch.cat([rebuilt, drawn]))).mean()
        loss = self.gamma * features + adversarial - self.pixels * log_px
        parts = {"reconstruction": -log_px, "features": features, "adversarial": adversarial}
        return Terms(loss, {name: part.detach() for name, part in parts.items()})

    def _discriminator(self, model: VAE, x: Tensor, c: Tensor) -> Terms:
        with torch.no_grad():
            trace = model(x, c)
            rebuilt, drawn = _mean(trace.px), self._drawn(model, trace, c)
        kinds = [self._features(points, x) for points in (x, rebuilt, drawn)]
        data, *made = [self.discriminator.judge(features) for features in kinds]
        return surprise(data, torch.cat(made))

    def _drawn(self, model: VAE, trace: Trace, c: Tensor) -> Tensor:
        """The means of p(x | z, c) for z from the prior."""
        z = model.latent.generate(trace.draw.sites[0].p.sample(), c)
        drawn: Tensor = _mean(model.px(z, c))
        return drawn

    def _features(self, points: Tensor, x: Tensor) -> Tensor:
        """What the discriminator sees in the points, where x holds data."""
        return self.discriminator.features(points.where(mask(x), 0))

    def _distance(self, x: Tensor, rebuilt: Tensor) -> Tensor:
        wanted, rebuilt = distributions.promote(self._features(x, x), rebuilt)
        return 0.5 * ((rebuilt - wanted) ** 2).sum(1).mean()


def _mean(px: Distribution) -> Tensor:
    try:
        return px.mean
    except NotImplementedError:
        raise ConfigError(
            "loss 'vae-gan': it judges means, and this likelihood has none in closed form: "
            "choose likelihood=bernoulli or gaussian, or loss=elbo"
        ) from None
