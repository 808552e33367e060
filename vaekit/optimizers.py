"""Adam and RMSprop over torch's own update rules.

`torch.optim`'s classes import its compiler, which takes longer than all else at the start of a run, and at every step work out
anew what stays the same.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.rmsprop import rmsprop

Like = Callable[[Tensor, Tensor], Tensor]


class Optimizer(ABC):
    """Steps parameters by their gradients; one whose gradient is None stays where it is.

    Args:
        parameters: to step.
        lr: learning rate.

    Attributes:
        parameters: to step.
        lr: learning rate, of the step to come.
    """

    slots: ClassVar[tuple[str, ...]]
    """What is kept of each parameter besides the number of its steps, each of its shape."""

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        self._tensors: list[Tensor] = [*self.parameters]
        self._kept: dict[str, list[Tensor]] = {}
        self._steps = [0] * len(self.parameters)

    @torch.no_grad()
    def step(self) -> None:
        """Step."""
        if not self._kept:
            self._kept = {slot: [torch.zeros_like(p) for p in self.parameters] for slot in self.slots}
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        moving = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        for i in moving:
            self._steps[i] += 1
        if len(moving) == len(self.parameters):
            self._update(self._tensors, gradients, self._kept, self._steps)
        elif moving:
            some = {slot: [kept[i] for i in moving] for slot, kept in self._kept.items()}
            self._update([self._tensors[i] for i in moving], gradients, some, [self._steps[i] for i in moving])

    def state(self) -> dict[str, Tensor]:
        """What is kept, by `NUMBER.SLOT` of each parameter; nothing before the first step."""
        every: dict[str, Sequence[Tensor]] = (
            {"step": [torch.tensor(float(n)) for n in self._steps], **self._kept} if self._kept else {}
        )
        return {f"{i}.{slot}": kept[i] for i in range(len(self.parameters)) for slot, kept in every.items()}

    def load(self, state: dict[str, Tensor], like: Like) -> None:
        """Go on from a state.

        Args:
            state: of such an optimizer of such parameters.
            like: gives a whole tensor the layout, the device and the shard of a parameter, which the update takes for granted.

        Raises:
            KeyError: where something is missing.
            ValueError: where something is left over, or of another shape.
        """
        if not state:
            return
        n = len(self.parameters)
        if len(state) != n * (1 + len(self.slots)):
            raise ValueError(f"{len(state)} tensors for {n} parameters")
        for i, parameter in enumerate(self.parameters):
            for slot in self.slots:
                if state[f"{i}.{slot}"].shape != parameter.shape:
                    raise ValueError(f"{slot} of parameter {i} has shape {tuple(state[f'{i}.{slot}'].shape)}")
        self._steps = [int(state[f"{i}.step"]) for i in range(n)]
        self._kept = {slot: [like(state[f"{i}.{slot}"], p) for i, p in enumerate(self.parameters)] for slot in self.slots}

    @abstractmethod
    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], kept: dict[str, list[Tensor]], steps: list[int]
    ) -> None:
        """Step parameters, all of which have gradients, in place; `steps` of each, this one included."""


class Adam(Optimizer):
    """Adam (Kingma, Ba; 2014), https://arxiv.org/abs/1412.6980, with the constants of the paper, in one pass over memory."""

    slots = ("exp_avg", "exp_avg_sq")

    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], kept: dict[str, list[Tensor]], steps: list[int]
    ) -> None:
        counts = {n: torch.full((), n, dtype=torch.float32, device=parameters[0].device) for n in set(steps)}
        torch._fused_adam_(
            parameters,
            gradients,
            kept["exp_avg"],
            kept["exp_avg_sq"],
            [],
            [counts[n] for n in steps],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


class RMSprop(Optimizer):
    """RMSprop with centred second moments (Graves; 2013), https://arxiv.org/abs/1308.0850, eq. 38 to 45, without momentum."""

    slots = ("square_avg", "grad_avg")

    def _update(
        self, parameters: list[Tensor], gradients: list[Tensor], kept: dict[str, list[Tensor]], steps: list[int]
    ) -> None:
        rmsprop(
            parameters,
            gradients,
            kept["square_avg"],
            kept["grad_avg"],
            [],
            [torch.zeros(()) for _ in parameters],  # counted by it, and of no consequence
            lr=self.lr,
            alpha=0.99,
            eps=1e-8,
            weight_decay=0.0,
            momentum=0.0,
            centered=True,
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "rmsprop": RMSprop}
