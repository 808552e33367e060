"""A distribution over whole examples whose dimensions are independent given the parameters."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vaekit import mask

_SEQUENCE = 2  # axes of an example: steps and features
_ANYTHING = 0.5  # in the place of padding, so that nothing is infinite there
Sizes = torch.Size | list[int] | tuple[int, ...]


class Factorized(Distribution):
    """Base of distributions with a first axis of examples and the rest as the event.

    Args:
        shape: (N, *event).
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, shape: torch.Size) -> None:
        super().__init__(shape[:1], shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Summed over the dimensions of an example, in nats; padding of sequences counts for nothing."""
        if len(self.event_shape) == _SEQUENCE:
            there = mask(value)
            terms = torch.where(there, self.log_terms(torch.where(there, value, _ANYTHING)), 0)
        else:
            terms = self.log_terms(value)
        return terms.flatten(terms.dim() - len(self.event_shape)).sum(-1)

    @abstractmethod
    def log_terms(self, value: Tensor) -> Tensor:
        """The log-density of each dimension, of the shape of `value`."""

    def uniform(self, sample_shape: Sizes, like: Tensor) -> Tensor:
        """Uniform draws strictly inside (0, 1), of the shape of a sample."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        tiny = torch.finfo(like.dtype).tiny
        return torch.rand(shape, device=like.device, dtype=like.dtype).clamp(tiny, 1 - torch.finfo(like.dtype).eps / 2)


def choose(log_p: Tensor, sample_shape: Sizes) -> Tensor:
    """Numbers drawn with the probabilities along the last axis of log_p: (*sample_shape, *log_p.shape[:-1])."""
    count = torch.Size(sample_shape).numel()
    chosen = torch.multinomial(log_p.exp().flatten(0, -2), count, replacement=True)
    return chosen.T.reshape(*sample_shape, *log_p.shape[:-1])
