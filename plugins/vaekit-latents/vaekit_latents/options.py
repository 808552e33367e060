"""What several latents share: options, and how a layer's output becomes a standard deviation."""

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

Features = Annotated[int, Field(ge=1, le=65536)]
Variables = Annotated[int, Field(ge=1, le=4096)]
Classes = Annotated[int, Field(ge=2, le=4096)]
Temperature = Annotated[float, Field(ge=0.01, le=100)]
Scale = Literal["exp", "softplus"]


def deviation(s: Tensor, scale: Scale) -> Tensor:
    """The standard deviation of a layer's output, both of any shape."""
    return (s.clamp(-20, 20) / 2).exp() if scale == "exp" else F.softplus(s) + 1e-6
