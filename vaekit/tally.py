"""Sums over an epoch that stay on the device until they are read."""

import torch
from torch import Tensor

from vaekit.errors import TrainingError

CURE = "lower the learning rate (--lr), clip the gradient (--clip 10) or use latent.scale=softplus"


class Tally:
    """Sums of terms over an epoch, and the first step at which each was not finite; all on the device until read."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums = self.bad = torch.zeros(0)
        self.examples = self.batches = 0

    def add(self, terms: dict[str, Tensor], n: int, step: int) -> None:
        """Count the terms of one step over `n` examples, the same terms at every step."""
        values = torch.stack([term.float() for term in terms.values()])
        if not self.names:
            self.names = list(terms)
            self.sums = torch.zeros_like(values, dtype=torch.float64)
            self.bad = torch.full_like(values, _NEVER, dtype=torch.int64)
        self.sums += values.double() * n
        self.bad = torch.where(torch.isfinite(values), self.bad, self.bad.clamp(max=step))
        self.examples += n
        self.batches += 1

    def means(self, epoch: int) -> dict[str, float]:
        """The mean of each term over the examples so far.

        Raises:
            TrainingError: naming the first term that was not finite, and the step.
        """
        if not self.batches:
            raise TrainingError("there are no batches to train on, or they can be iterated over only once")
        bad = dict(zip(self.names, self.bad.tolist(), strict=True))
        first = min(bad.values())
        if first < _NEVER:
            names = [name for name, step in bad.items() if step == first]
            name = next((n for n in names if n.rpartition(".")[2] not in _MADE_OF_OTHERS), names[0])
            raise TrainingError(f"{name} is not finite at step {first} (epoch {epoch}): {CURE}")
        return {name: total / self.examples for name, total in zip(self.names, self.sums.tolist(), strict=True)}


_MADE_OF_OTHERS = ("loss", "nelbo", "profile", "gradient_norm")
_NEVER = 2**62
