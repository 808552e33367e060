"""What one pass through a model leaves behind: every distribution, and what was drawn from it.

Objectives are arithmetic on a Trace. Shapes: N examples, S samples of z for each. All in nats, summed over dimensions,
computed in float32 or better whatever autocast says.
"""

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from vaekit import distributions
from vaekit.distributions import full_precision


@dataclass(frozen=True)
class Site:
    """One stochastic layer: its posterior, its prior and the draws.

    Args:
        q: the posterior, batch (N,) or, below another layer, (S, N).
        p: the prior, likewise.
        z: the draws from q, (S, N, *event).
    """

    q: Distribution
    p: Distribution
    z: Tensor

    @property
    def closed(self) -> bool:
        """Whether KL(q ‖ p) has a closed form here; it is estimated from the draws otherwise."""
        return distributions.has_kl(self.q, self.p)

    def log_ratio(self) -> Float[Tensor, "s n"]:
        """log p(z) - log q(z) at the draws."""
        with full_precision(self.z):
            return self.p.log_prob(self.z) - self.q.log_prob(self.z)

    def kl(self) -> Float[Tensor, "n"]:
        """KL(q ‖ p), in closed form where there is one, else a mean over the S draws."""
        with full_precision(self.z):
            kl = distributions.kl(self.q, self.p) if self.closed else -self.log_ratio()
        return kl.mean(0) if kl.dim() == 2 else kl

    def kl_dims(self) -> Float[Tensor, "n d"] | None:
        """KL(q ‖ p) of each dimension, or None where it is not a sum over dimensions."""
        with full_precision(self.z):
            kl = distributions.kl_dims(self.q, self.p)
        return kl.mean(0) if kl is not None and kl.dim() == 3 else kl


@dataclass(frozen=True)
class Draw:
    """What a Latent drew.

    Args:
        z: what the decoder sees, (S, N, *out_shape).
        sites: the stochastic layers, the root first.
        penalty: what training adds to the negative ELBO besides, (N,): a commitment term for instance. Never part of a bound.
    """

    z: Tensor
    sites: tuple[Site, ...]
    penalty: Tensor | None = None


@dataclass(frozen=True)
class Trace:
    """The record of one pass: data, context, draws, and p(x | z, c) for all S·N draws at once.

    Args:
        x: (N, *data_shape).
        c: (N, C).
        draw: what the Latent drew.
        px: the likelihood with S and N folded into one batch axis, (S·N,).
    """

    x: Tensor
    c: Tensor
    draw: Draw
    px: Distribution

    @property
    def closed(self) -> bool:
        """Whether every KL has a closed form."""
        return all(site.closed for site in self.draw.sites)

    def log_px(self) -> Float[Tensor, "s n"]:
        """log p(x | z, c) at each draw."""
        samples, n = self.draw.z.shape[:2]
        x = self.x if samples == 1 else self.x.expand(samples, *self.x.shape).flatten(0, 1)
        with full_precision(self.x):
            return self.px.log_prob(x).reshape(samples, n)

    def kl(self) -> Float[Tensor, "n"]:
        """The KL of every layer, summed."""
        return reduce(torch.add, [site.kl() for site in self.draw.sites])

    def elbo(self) -> Float[Tensor, "n"]:
        """E_q log p(x | z, c) - KL(q ‖ p): a lower bound on log p(x | c) in expectation."""
        return self.log_px().mean(0) - self.kl()

    def log_weight(self) -> Float[Tensor, "s n"]:
        """log p(x, z | c) - log q(z | x, c): the log importance weights."""
        return reduce(torch.add, [site.log_ratio() for site in self.draw.sites], self.log_px())


@dataclass(frozen=True)
class Terms:
    """What a Loss gives.

    Args:
        loss: the scalar to differentiate; whatever scale the loss chose.
        parts: what it is made of, scalars without gradient, always in nats per example.
    """

    loss: Float[Tensor, ""]
    parts: dict[str, Tensor]

    @classmethod
    def of(cls, trace: Trace, loss: Tensor, parts: dict[str, Tensor]) -> "Terms":
        """With the latent's own penalty in the loss and among the parts, where it has one, and parts without gradients."""
        if trace.draw.penalty is not None:
            parts = {**parts, "penalty": trace.draw.penalty.mean()}
            loss = loss + parts["penalty"]
        return cls(loss, {name: part.detach() for name, part in parts.items()})
