"""A context of class labels."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import ConfigError, Context


class Labels(Context):
    r"""$c = e_y$, one-hot, or $c = W e_y$, a learned embedding of the class number y.

    y (N,) gives c (N, classes), or (N, features) for an embedding. Where nobody says which, y is drawn evenly over the classes.

    Args:
        classes: how many there are; taken from the data unless given.
        encoding: `one-hot` or `embedding`.
        features: width of the embedding.

    References:
        Learning Structured Output Representation using Deep Conditional Generative Models (Sohn, Lee, Yan; 2015),
        https://papers.nips.cc/paper/5775, section 4.
    """

    name = "labels"

    def __init__(
        self,
        *,
        classes: Annotated[int, Field(ge=2, le=10_000)] = 10,
        encoding: Literal["one-hot", "embedding"] = "one-hot",
        features: Annotated[int, Field(ge=1, le=4096)] = 16,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.embedding = nn.Embedding(classes, features) if encoding == "embedding" else None
        self.out_shape = (features if encoding == "embedding" else classes,)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        if y is None:
            raise ConfigError(self._wanted("none was given"))
        if self.embedding is not None:
            c: Tensor = self.embedding(y)
            return c
        return (y[:, None] == torch.arange(self.classes, device=y.device)).to(self.empty.dtype)

    def parse(self, y: Any, n: int, classes: Sequence[str]) -> Tensor:
        if y is None:
            raise ConfigError(self._wanted("none was given", classes))
        given = y.tolist() if isinstance(y, torch.Tensor | np.ndarray | np.generic) else y
        given = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        plain = [label.item() if isinstance(label, torch.Tensor | np.generic) else label for label in given]
        numbers = [self._number(label, classes) for label in plain]
        if len(numbers) not in (1, n):
            raise ConfigError(f"{len(numbers)} labels for {n} examples: give one for all, or one each")
        return torch.tensor(numbers * (n if len(numbers) == 1 else 1))

    def sample(self, n: int) -> Tensor:
        return torch.randint(self.classes, (n,))

    def _number(self, label: Any, classes: Sequence[str]) -> int:
        if isinstance(label, str):
            if label in classes:
                return list(classes).index(label)
            if label.isdecimal() and len(label) < 10 and int(label) < self.classes:
                return int(label)
        elif isinstance(label, int) and not isinstance(label, bool) and 0 <= label < self.classes:
            return label
        raise ConfigError(self._wanted(f"there is no {repr(label)[:80]}", classes))

    def _wanted(self, wrong: str, classes: Sequence[str] = ()) -> str:
        named = f" ({', '.join(classes[:12])}{', …' if len(classes) > 12 else ''})" if len(classes) == self.classes else ""
        return (
            f"this model is conditional on one of {self.classes} classes{named}: {wrong}; "
            f"give y as a number below {self.classes} or a name"
        )
