"""Toy spaces, random points of them, and a family of smooth distributions that live there."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, Dirichlet, Distribution
from torch.distributions.constraints import Constraint

from vaekit.distributions import independent, normal
from vaekit.parts import Posterior, Space

SPACES = (
    Space((1,)),
    Space((2,)),
    Space((3, 2, 2)),
    Space((2,), "sphere"),
    Space((3,), "sphere"),
    Space((2,), "ball"),
    Space((3,), "simplex"),
    Space((2, 3), "simplex"),
    Space((1,), "codes", 5),
    Space((2, 2), "codes", 3),
)
"""The spaces that priors are tried on."""


def scattered(space: Space, n: int) -> Tensor:
    """`n` random points of a space."""
    if space.support == "codes":
        return torch.randint(space.size or 1, (n, *space.shape))
    x = torch.randn(n, *space.shape)
    match space.support:
        case "sphere":
            return F.normalize(x, dim=-1)
        case "ball":
            return _in_ball(x)
        case "simplex":
            return x.softmax(-1)
        case _:
            return x


def on(space: Space, level: Tensor) -> Distribution:
    """A smooth distribution on a space for each of N levels from -1 to 1: the standard normal, or the uniform one, at 0.

    Args:
        space: any.
        level: (N,); the distribution is of its dtype and has gradients to it.
    """
    wide = level.reshape(-1, *(1 for _ in space.shape)).expand(-1, *space.shape)
    match space.support:
        case "codes":
            steps = torch.linspace(-1, 1, space.size or 1, device=level.device, dtype=level.dtype)
            return independent(Categorical(logits=wide[..., None] * steps, validate_args=False))
        case "simplex":
            steps = torch.linspace(-1, 1, space.shape[-1], device=level.device, dtype=level.dtype)
            return independent(Dirichlet(torch.exp(wide * steps), validate_args=False))
        case "sphere" | "ball":
            return _Tilted(space, level)
        case _:
            return normal(wide, torch.ones_like(wide))


def stand_in(space: Space) -> Posterior:
    """A posterior for priors that are made of posteriors: smooth in x and c."""

    def posterior(x: Tensor, c: Tensor) -> Distribution:
        return on(space, torch.tanh(x.flatten(1).mean(1) + c.sum(1)))

    return posterior


class _Tilted(Distribution):
    """On the sphere or in the ball, $p(z) = (1 + a z_1 / 2) / V$, for each of N tilts a; V is the area or the volume."""

    arg_constraints: dict[str, Constraint] = {}
    has_rsample = False

    def __init__(self, space: Space, tilt: Tensor) -> None:
        self.space, self.tilt = space, tilt
        super().__init__(tilt.shape, torch.Size(space.shape), validate_args=False)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Uniform draws, each in place of its opposite with the probability that the density asks for."""
        with torch.no_grad():
            x = torch.randn(*sample_shape, *self.batch_shape, *self.event_shape, dtype=self.tilt.dtype, device=self.tilt.device)
            x = F.normalize(x, dim=-1) if self.space.support == "sphere" else _in_ball(x)
            kept = torch.rand_like(x[..., 0]) < (1 + self.tilt * x[..., 0] / 2) / 2
            return torch.where(kept[..., None], x, -x)

    def log_prob(self, value: Tensor) -> Tensor:
        d = self.event_shape[-1]
        volume = math.log(math.pi) * d / 2 - math.lgamma(d / 2 + 1)  # of the ball; its surface has d times as much
        whole = volume + (math.log(d) if self.space.support == "sphere" else 0.0)
        return torch.log1p(self.tilt * value[..., 0] / 2) - whole


def _in_ball(x: Tensor) -> Tensor:
    """Normal draws as uniform draws from the ball."""
    d = x.shape[-1]
    half = torch.tensor(d / 2, dtype=x.dtype, device=x.device)
    square: Tensor = (x**2).sum(-1, keepdim=True)
    radius = torch.special.gammainc(half, square / 2) ** (1 / d)  # the chi-square distribution function, which is uniform
    inside: Tensor = F.normalize(x, dim=-1) * radius
    return inside
