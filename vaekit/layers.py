"""Dense layers, for the parts that need some."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(max_length=16, strict=False)]
"""An option: the width of each of up to sixteen layers."""

Activation = Literal["relu", "leaky-relu", "gelu", "silu", "tanh"]
"""An option: the name of an activation."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def activation(name: Activation) -> nn.Module:
    """The activation of that name, as a module."""
    return _ACTIVATIONS[name]()


def dense(widths: tuple[int, ...], name: Activation = "relu") -> nn.Sequential:
    """Linear layers, each with its activation: (N, widths[0]) to (N, widths[-1]); nothing at all for a single width."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), activation(name)]
    return nn.Sequential(*layers)
