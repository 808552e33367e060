"""Class numbers as one-hot vectors."""

from collections.abc import Sequence
from operator import index
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vaekit import ConfigError, Context


class ExampleContext(Context):
    """$c = e_y$, one-hot: the class number y (N,) gives c (N, classes).

    Where nobody says which, y is drawn evenly over the classes.

    Args:
        classes: how many there are; taken from the data unless given.

    References:
        Learning Structured Output Representation using Deep Conditional Generative
        Models (Sohn, Lee, Yan; 2015), https://papers.nips.cc/paper/5775, section 4.
    """

    name = "example"

    def __init__(
        self,
        *,
        classes: Annotated[int, Field(ge=2, le=10_000)] = 10,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.out_shape = (classes,)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        if y is None:
            raise ConfigError(_MISSING)
        return F.one_hot(y, self.classes).to(self.empty.dtype)

    def parse(self, y: Any, n: int, classes: Sequence[str]) -> Tensor:
        if y is None:
            raise ConfigError(_MISSING)
        given = y.tolist() if isinstance(y, Tensor | np.ndarray) else y
        one = isinstance(given, str) or not isinstance(given, Sequence)
        labels = [given] if one else given
        if len(labels) not in (1, n):
            said = f"{len(labels)} labels for {n} examples"
            raise ConfigError(f"{said}: give one for all, or one each")
        numbers = [self._number(label, classes) for label in labels]
        return torch.tensor(numbers).expand(n)

    def sample(self, n: int) -> Tensor:
        return torch.randint(self.classes, (n,))

    def _number(self, label: Any, classes: Sequence[str]) -> int:
        """Of the class of that name or number; names first, for they may be digits."""
        if isinstance(label, str) and label in classes:
            return list(classes).index(label)
        try:
            number = int(label) if isinstance(label, str) else index(label)
        except (TypeError, ValueError):
            number = -1
        if isinstance(label, bool) or not 0 <= number < self.classes:
            there = ", ".join([f"0 to {self.classes - 1}", *classes[:12]])
            raise ConfigError(f"there is no class {label!r} (there are: {there})")
        return number


_MISSING = "this model is conditional: give y, the number or the name of a class"
