"""No context: a model that is told nothing besides x."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaekit import ConfigError, Context


class Unconditional(Context):
    """The empty context: c has shape (N, 0), and y is not looked at in training.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, section 2.1.
    """

    name = "none"

    def __init__(self) -> None:
        super().__init__()
        self.out_shape = (0,)

    def forward(self, y: Tensor | None, n: int) -> Tensor:
        return torch.zeros(n, 0, device=self.empty.device, dtype=self.empty.dtype)

    def parse(self, y: Any, n: int, classes: Sequence[str]) -> None:
        if y is not None:
            raise ConfigError("this model is not conditional: it takes no y")

    def sample(self, n: int) -> None:
        return None
