"""What a flow makes of a simple distribution."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from vaekit import distributions
from vaekit_flows.steps import Mapped


class Pushed(Distribution):
    r"""The distribution of z = f(u) with u from a base: $\log p(z) = \log b(u) - \log |\det \partial f / \partial u|$.

    The density of the last draw is known from drawing it, so that it costs nothing and no inverse need be taken; for every
    other point it is that at $u = f^{-1}(z)$.

    Args:
        base: batch (N,), event (D,).
        push: f, from u (…, N, D) to z of the same shape and log |det| (…, N).
        pull: the inverse of f, with its own log |det|.
        event_shape: what z is reshaped to, D numbers.
    """

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = True

    def __init__(
        self,
        base: Distribution,
        push: Callable[[Tensor], Mapped],
        pull: Callable[[Tensor], Mapped],
        event_shape: tuple[int, ...],
    ) -> None:
        self.base, self._push, self._pull = base, push, pull
        self._drawn: tuple[Tensor, Tensor, bool] | None = None
        super().__init__(base.batch_shape, torch.Size(event_shape), validate_args=False)

    @property
    def centre(self) -> Tensor:
        """Where f takes the mean of the base."""
        with distributions.full_precision(self.base.mean):
            z: Tensor = self._push(self.base.mean)[0].unflatten(-1, self.event_shape)
        return z

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        with distributions.full_precision(self.base.mean):
            u = self.base.rsample(torch.Size(sample_shape))
            z, log_det = self._push(u)
            drawn: Tensor = z.unflatten(-1, self.event_shape)
            self._drawn = drawn, self.base.log_prob(u) - log_det, torch.is_grad_enabled()
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        if self._drawn is not None:
            z, log_prob, with_gradients = self._drawn
            if value is z and (with_gradients or not torch.is_grad_enabled()):
                return log_prob
        with distributions.full_precision(value):
            value = value.expand(torch.broadcast_shapes(value.shape, self.batch_shape + self.event_shape))
            u, log_det = self._pull(value.flatten(value.dim() - len(self.event_shape)))
            return self.base.log_prob(u) + log_det
