"""The processes that train together: one by itself, or the ranks of a job that torchrun or accelerate has launched."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.training import TrainingOptions


class Ranks:
    """One process by itself.

    Attributes:
        rank: the number of this process.
        size: how many there are.
    """

    rank = 0
    size = 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """A block that the main process goes through before the others."""
        yield

    def wrapped(self, step: nn.Module, optimizers: list[torch.optim.Optimizer]) -> nn.Module:
        """The module to call in place of `step`, whose gradients are means over all ranks."""
        return step

    def apart(self, step: Callable[..., Any], more: bool) -> AbstractContextManager[Any]:
        """A block of one forward and backward pass, in which gradients are not exchanged yet where more are to come."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss."""
        loss.backward()

    def norm(self, parameters: list[nn.Parameter], most: float | None) -> Tensor:
        """The norm of all gradients together, which are scaled down to `most` where it is more."""
        return nn.utils.clip_grad_norm_(parameters, math.inf if most is None else most)

    def gathered(self, step: nn.Module) -> AbstractContextManager[Any]:
        """A block in which every rank has all parameters, and parts of `step` can be called by themselves."""
        return nullcontext()

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each rank may have a shard, as it is."""
        return tensor

    def like(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor as this rank has another one: its device, memory format and shard."""
        return torch.empty_like(like, dtype=whole.dtype).copy_(whole)

    def of_each(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, which have one shape."""
        return [tensor]

    def sum(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def any(self, *flags: bool) -> list[bool]:
        """Whether each is true on any rank."""
        return list(flags)

    def told(self, value: Any) -> Any:
        """What the main process says, of JSON values."""
        return value


ALONE = Ranks()


@contextmanager
def joined(options: TrainingOptions) -> Iterator[Ranks]:
    """A block in which this process is one of the ranks of its job."""
    yield ALONE
