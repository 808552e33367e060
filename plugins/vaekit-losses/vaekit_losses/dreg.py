"""The importance-weighted bound with doubly reparameterised gradients."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Space, Terms, Trace, distributions
from vaekit_losses.shared import negative_bound, sides, weighed, with_bound


class DReG(Loss):
    r"""`iwae`, $-\log \frac1K \sum_k w_k$ with $w_k = p(x, z_k \mid c) / q(z_k \mid x, c)$, by another gradient.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. For the parameters φ of the posterior the gradient of
    the bound is
    $\mathbb E \sum_k \tilde w_k^2 \, \frac{\partial \log w_k}{\partial z_k} \frac{\partial z_k}{\partial \varphi}$
    with $\tilde w_k = w_k / \sum_j w_j$: through the draws alone, where that of `iwae` also has the score
    $\nabla_\varphi \log q$, which is zero in expectation for K = 1 and noise besides. Its signal does not drown as K grows,
    where that of `iwae` does. Near the exact posterior it has little noise, at it none at all; far from it there may be no less
    noise. Two players take turns, each with draws of its own.

    - `encoder`: the encoder and the latent, with all that the latent owns. What these parameters do to p directly, as in the
      conditional priors between the layers of a hierarchy or in a prior that is made of posteriors, keeps the weight
      $\tilde w_k$. In a hierarchy every layer's draw is a path, and the densities of layers below a draw are functions of it.
    - `decoder`: the decoder, the likelihood, the prior and the context, by the gradient of `iwae`.

    Where one of them has nothing to train, the other plays alone.

    Its parts are, in nats per example: `iwae`, the value of the bound, which is also that of the loss; and at the same draws
    `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `nelbo`,
    the sum of the two (`profile` where the likelihood's training score is of no one density); and `penalty`, where the latent
    has one, which is added to the loss only.

    Where the posterior has no density, as that of `point` has none, there is no bound: `reconstruction` and `penalty` alone are
    reported.

    The draws of every layer, its Site's z, must be what all further computation starts from, and reparameterised. A gradient
    taken within the pass keeps it from compiling.

    Args:
        samples: draws of z an example, K.

    Raises:
        ShapeError: where the latent is on a space of codes, whose draws have no gradient.
        ConfigError: in training, where draws have no gradient or the decoder sees something that is not made of them.

    References:
        Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al.; 2018),
        https://arxiv.org/abs/1810.04152, section 3: the gradient of IWAE.
        Generalized Doubly-Reparameterized Gradient Estimators (Bauer, Mnih; 2021), https://arxiv.org/abs/2101.11046, section 4:
        hierarchies.
    """

    name = "dreg"
    compiles = False

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 5,
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError("its gradient goes through the draws; this latent is on a space of codes: iwae takes it")
        self.samples = samples
        self.out_shape = ()

    def players(self, model: VAE) -> dict[str, list[nn.Parameter]]:
        return sides(model)

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "encoder") -> Terms:
        trace = model(x, c, self.samples)
        log_px, log_weight = weighed(trace)
        bound = loss = negative_bound(log_weight)
        if player == "encoder" and self.training and torch.is_grad_enabled():
            with distributions.full_precision(x):
                surrogate = _surrogate(trace, log_px, log_weight.detach().softmax(0))
            loss = loss.detach() + (surrogate - surrogate.detach())
        return Terms.of(trace, loss, with_bound(model, trace, log_px.mean(), trace.kl().mean(), iwae=bound))


def _surrogate(trace: Trace, log_px: Tensor, share: Tensor) -> Tensor:
    """What has the gradient of the loss for the posterior's parameters, whatever its value.

    For parameters ψ and draws z(ψ) the wanted gradient of the bound has two terms: of what ψ does to p at fixed draws, by the
    share of each draw; and of what it does to the draws, by the square of the share, at fixed densities. `at_draws` has the
    first, and a path term of its own, which `along` replaces by the second.
    """
    drawn, seen = [site.z for site in trace.draw.sites], trace.draw.z
    if not all(z.requires_grad for z in (*drawn, seen)):
        raise ConfigError("loss 'dreg': its gradient goes through the draws, and those of this latent have none: iwae takes it")
    (slope,) = torch.autograd.grad((share * log_px).sum(), seen, retain_graph=True)
    wide = share.reshape(*share.shape, *(1 for _ in seen.shape[2:]))
    log_p = torch.stack([site.p.log_prob(site.z) for site in trace.draw.sites]).sum(0)
    log_q = torch.stack([site.q.log_prob(site.z) for site in trace.draw.sites]).sum(0)
    by_decoder = _partial(((wide - 1) * slope * seen).sum(), drawn)
    by_density = _partial((share**2 * (log_p - log_q) - share * log_p).sum(), drawn)
    at_draws = (slope * seen).sum() + (share * log_p).sum()
    along = [at_draws]
    for z, one, other in zip(drawn, by_decoder, by_density, strict=True):
        if one is None or other is None:
            raise ConfigError("loss 'dreg': what the decoder sees is not made of the draws of this latent: iwae takes it")
        along.append(((one + other) * z).sum())
    return -torch.stack(along).sum() / share.shape[1]


def _partial(value: Tensor, draws: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient to each of the draws with the others held, although one may be made of another."""
    found: list[Tensor | None] = [None] * len(draws)

    def stop_at(i: int) -> Callable[[Tensor], Tensor]:
        def stop(gradient: Tensor) -> Tensor:
            found[i] = gradient
            return torch.zeros_like(gradient)

        return stop

    hooks = [z.register_hook(stop_at(i)) for i, z in enumerate(draws)]
    try:
        torch.autograd.grad(value, draws, retain_graph=True, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return found
