"""The terms of every step of an epoch, which stay on the device until they are read."""

import torch
from torch import Tensor

from vaekit.errors import TrainingError

CURE = "lower the learning rate (--lr), clip the gradient (--clip 10) or use latent.scale=softplus"


class Tally:
    """The terms of each step so far, and over how many examples they are; on the device until they are read.

    Attributes:
        names: of the terms, the same at every step.
        counts: examples of each step.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self._rows: list[Tensor] = []

    def add(self, terms: dict[str, Tensor], n: int) -> None:
        """Note the terms of one step over `n` examples."""
        self.names = self.names or list(terms)
        self.counts.append(n)
        self._rows.append(torch.stack([term.float() for term in terms.values()])[None])
        if len(self._rows) > _ROWS_APART:
            self._rows = [torch.cat(self._rows)]

    @property
    def table(self) -> Tensor:
        """All terms, (steps, terms)."""
        if not self._rows:
            return torch.zeros(0, len(self.names))
        self._rows = [torch.cat(self._rows)]
        return self._rows[0]

    def restore(self, names: list[str], counts: list[int], table: Tensor) -> None:
        """Stand where another tally stood."""
        self.names, self.counts, self._rows = list(names), list(counts), [table] if len(table) else []

    def sums(self) -> Tensor:
        """Of each term over all examples, and the number of examples, (terms + 1,), in float64 on the CPU.

        They are the same however often and wherever the tally was read before.
        """
        n = torch.tensor(self.counts, dtype=torch.float64)
        return torch.cat([(self.table.cpu().double() * n[:, None]).sum(0), n.sum()[None]])

    def first_bad(self) -> Tensor:
        """The first step at which each term was not finite, (terms,); how many steps there are where it always was."""
        bad = ~torch.isfinite(self.table.cpu())
        return torch.where(bad.any(0), bad.int().argmax(0), len(self.table))

    def check(self, first_bad: Tensor, before: int, epoch: int) -> None:
        """Raise the error that says which term was first not finite, where one was.

        Args:
            first_bad: as `first_bad` gives it; the least over all ranks.
            before: optimizer steps before the first of this tally.
            epoch: the number of the epoch.

        Raises:
            TrainingError: naming the term and the step.
        """
        bad = dict(zip(self.names, first_bad.tolist(), strict=True))
        first = min(bad.values())
        if first < len(self.counts):
            names = [name for name, step in bad.items() if step == first]
            name = next((n for n in names if n.rpartition(".")[2] not in _MADE_OF_OTHERS), names[0])
            raise TrainingError(f"{name} is not finite at step {before + first + 1} (epoch {epoch}): {CURE}")


_MADE_OF_OTHERS = ("loss", "nelbo", "profile", "gradient_norm")
_ROWS_APART = 1000
