"""A mixture of distributions of one family."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal
from torch.distributions.constraints import Constraint

from vaekit import distributions


class Mixture(Distribution):
    r"""$p(z) = \sum_k w_k \, p_k(z)$, the same for each example of a batch (N,).

    Args:
        logits: log-weights (K,), normalised here.
        components: batch (K,).
        n: the size of the batch.
    """

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = False

    def __init__(self, logits: Tensor, components: Distribution, n: int) -> None:
        self.log_weights = distributions.promote(logits)[0].log_softmax(0)
        self.components = components
        super().__init__(torch.Size((n,)), components.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
        base = self.components.base_dist if isinstance(self.components, Independent) else None
        if type(base) is Normal:
            return self._log_prob_of_normals(value, base.loc, base.scale)
        each = self.components.log_prob(value.unsqueeze(value.dim() - len(self.event_shape)))
        log_prob: Tensor = (each + self.log_weights).logsumexp(-1)
        return log_prob

    def _log_prob_of_normals(self, value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        r"""By $-\tfrac12 z^2 \cdot \sigma^{-2} + z \cdot \mu \sigma^{-2}$, one matrix product for all examples and components.

        The terms nearly cancel where scales are small, which float32 does not bear and float64 does.
        """
        exact = torch.float64 if value.device.type in ("cpu", "cuda") else torch.float32  # others may not have it
        z = value.flatten(value.dim() - len(self.event_shape)).to(exact)
        loc, scale = loc.flatten(1).to(exact), scale.flatten(1).to(exact)
        precision = scale.square().reciprocal()
        factors = torch.cat([-0.5 * precision, loc * precision], 1)
        constant = (0.5 * loc.square() * precision + scale.log() + 0.5 * math.log(2 * math.pi)).sum(1)
        each = torch.cat([z.square(), z], -1) @ factors.T + (self.log_weights.to(exact) - constant)
        return each.to(self.log_weights.dtype).logsumexp(-1)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Components are chosen by weight, and each is drawn from as often as the most frequent one needs."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            count = math.prod(shape[: len(shape) - len(self.event_shape)])
            chosen = self.log_weights.exp().multinomial(count, replacement=True)
            order, counts = chosen.argsort(), chosen.bincount(minlength=len(self.log_weights))
            before = (counts.cumsum(0) - counts)[chosen[order]]
            turn = torch.empty_like(chosen)
            turn[order] = torch.arange(count, device=chosen.device) - before
            draws = self.components.sample((int(counts.max()),))
            return draws[turn, chosen].reshape(shape)
