"""A regularised autoencoder."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Space, Terms, Trace, distributions
from vaekit_losses.shared import all_but_prior, mean_of

Weight = Annotated[float, Field(ge=0, le=1e6)]


class RAE(Loss):
    r"""$-\log p(x \mid z, c) + \frac{\beta}{2} \|z\|^2 + \lambda R$, for codes z that are not drawn: latent `point`.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. A smooth decoder takes the place of noise on its input,
    by a penalty R: `l2`, $\|\theta\|^2$, the sum of the squares of all parameters θ of the decoder; or `gradient`,
    $\| \partial \hat x / \partial z \|_F^2$ for the mean $\hat x$ of p(x | z, c), estimated without bias by
    $\| v^\top \partial \hat x / \partial z \|^2$ for one standard normal v an example, which takes two passes more.

    The prior is not trained: fit one to the codes afterwards with `prior-nll`. With a latent that draws, z is its draw.

    Its parts are, in nats per example: `reconstruction`, $-\log p(x \mid z, c)$; and `penalty`, where the latent has one, which
    is added to the loss only. Beside them are, without their weights, `code`, $\frac12 \|z\|^2$, and for a penalty
    `decoder_l2` or `decoder_gradient`, R. There is no bound: a point has no density. The gradient within the pass keeps it
    from compiling.

    Args:
        beta: weight of the squared length of codes.
        penalty: `l2` of the decoder's parameters, `gradient` of its output, or `none`.
        weight: weight λ of the penalty.

    Raises:
        ShapeError: where the latent is on a space of codes, which have no length.
        ConfigError: in training, where the latent has several layers, or the likelihood no mean with a gradient.

    References:
        From Variational to Deterministic Autoencoders (Ghosh et al.; 2019), https://arxiv.org/abs/1903.12436, section 3: the
        loss, and the L2 and gradient penalties.
    """

    name = "rae"
    compiles = False

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        beta: Weight = 0.1,
        penalty: Literal["l2", "gradient", "none"] = "l2",
        weight: Weight = 1e-3,
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError("it holds latents short; this latent is on a space of codes, which have no length")
        self.beta, self.penalty, self.weight = beta, penalty, weight
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return all_but_prior(model)

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        if len(trace.draw.sites) > 1:
            raise ConfigError("loss 'rae': it is for latents of one layer: elbo takes several")
        (z,) = distributions.promote(trace.draw.z)
        parts = {"reconstruction": -trace.log_px().mean(), "code": z.square().sum() / (2 * z.shape[1])}
        loss = parts["reconstruction"] + self.beta * parts["code"]
        if self.penalty != "none":
            of_decoder = _squares(model.decoder) if self.penalty == "l2" else self._slope(model, trace)
            parts[f"decoder_{self.penalty}"] = of_decoder
            loss = loss + self.weight * of_decoder
        return Terms.of(trace, loss, parts)

    def _slope(self, model: VAE, trace: Trace) -> Tensor:
        """The squared norm of the Jacobian of the mean by the code, estimated, mean over the batch."""
        z, px, learning = trace.draw.z, trace.px, torch.is_grad_enabled()
        with torch.enable_grad(), distributions.full_precision(z):
            if not z.requires_grad:  # nothing trains the encoder, or nothing trains at all
                z = z.detach().requires_grad_()
                px = model.px(z, trace.c)
            mean = mean_of(self, model, px)
            (slope,) = torch.autograd.grad(mean, z, torch.randn_like(mean), create_graph=learning)
        return slope.square().sum() / z.shape[1]


def _squares(decoder: nn.Module) -> Tensor:
    return torch.stack([p.square().sum() for p in decoder.parameters()]).sum()
