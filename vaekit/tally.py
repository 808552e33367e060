"""The terms of every step of an epoch, which stay on the device until they are read."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from vaekit.errors import TrainingError

NEVER = torch.iinfo(torch.int64).max

CURE = "lower the learning rate (--lr), clip the gradient (--clip 10) or use latent.scale=softplus"


class Tally:
    """The terms of each step so far, and over how many examples they are; on the device until they are read.

    Attributes:
        names: of the terms, the same at every step.
        counts: examples of each step.
        carried: sums of steps before these, as `sums` gives them; empty where there are none.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.carried = torch.zeros(0, dtype=torch.float64)
        self._rows: list[Tensor] = []

    def add(self, terms: dict[str, Tensor], n: int) -> None:
        """Note the terms of one step over `n` examples.

        Raises:
            TrainingError: where they are not those of the steps before.
        """
        self.names = self.names or list(terms)
        if list(terms) != self.names:
            raise TrainingError(f"a loss reports the same terms at every step: {self.names} at first, then {list(terms)}")
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

    def restore(self, names: list[str], counts: list[int], table: Tensor, carried: Tensor) -> None:
        """Stand where another tally stood."""
        self.names, self.counts, self._rows = list(names), list(counts), [table] if len(table) else []
        self.carried = carried.cpu()

    @classmethod
    def after(cls, each: Sequence[Self], main: bool) -> Self:
        """A tally that goes on from those of other ranks: on the main one with all they have, on others with nothing."""
        found = cls()
        sums = torch.stack([tally.sums() for tally in each]).sum(0)
        found.names = each[0].names
        found.carried = sums if main else torch.zeros_like(sums)
        return found

    def sums(self) -> Tensor:
        """Of each term over all examples, and the number of examples, (terms + 1,), in float64 on the CPU.

        They are the same however often and wherever the tally was read before.
        """
        n = torch.tensor(self.counts, dtype=torch.float64)
        found = torch.cat([(self.table.cpu().double() * n[:, None]).sum(0), n.sum()[None]])
        return found + self.carried if len(self.carried) else found

    def first_bad(self) -> Tensor:
        """The first step at which each term was not finite, (terms,); NEVER where it always was."""
        bad = ~torch.isfinite(self.table.cpu())
        return torch.where(bad.any(0), bad.int().argmax(0), NEVER) if len(bad) else torch.full((len(self.names),), NEVER)

    def check(self, first_bad: Tensor, before: int, epoch: int) -> None:
        """Raise the error that says which term was first not finite, where one was.

        Args:
            first_bad: as `first_bad` gives it; the first over all ranks.
            before: optimizer steps before the first of this tally.
            epoch: the number of the epoch.

        Raises:
            TrainingError: naming the term and the step.
        """
        bad = dict(zip(self.names, first_bad.tolist(), strict=True))
        first = min(bad.values())
        if first < NEVER:
            names = [name for name, step in bad.items() if step == first]
            name = next((n for n in names if n.rpartition(".")[2] not in _MADE_OF_OTHERS), names[0])
            raise TrainingError(f"{name} is not finite at step {before + first + 1} (epoch {epoch}): {CURE}")


_MADE_OF_OTHERS = ("loss", "nelbo", "profile", "gradient_norm")
_ROWS_APART = 1000
