"""Toy spaces, random points of them, and distributions that live there."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit import registry
from vaekit.distributions import PointMass, normal
from vaekit.errors import ShapeError
from vaekit.parts import Part, Posterior, Space
from vaekit.testing.outcomes import NotApplicable

SPACES = (
    Space((1,)),
    Space((2,)),
    Space((3, 2, 2)),
    Space((2,), "sphere"),
    Space((3,), "sphere"),
    Space((2,), "ball"),
    Space((3,), "simplex"),
    Space((1,), "codes", 5),
    Space((2, 2), "codes", 3),
)
"""The spaces that priors are tried on."""


def scattered(space: Space, n: int) -> Tensor:
    """`n` random points of a space."""
    if space.support == "codes":
        return torch.randint(space.size or 1, (n, *space.shape))
    x = torch.randn(n, *space.shape)
    length: Tensor = x.norm(dim=-1, keepdim=True)
    match space.support:
        case "sphere":
            return x / length
        case "ball":
            return 0.9 * x / (1 + length)
        case "simplex":
            return x.softmax(-1)
        case _:
            return x


def stand_in(space: Space) -> Posterior:
    """A posterior for priors that are made of posteriors: smooth in x and c."""

    def posterior(x: Tensor, c: Tensor) -> Distribution:
        if space.support != "real":
            return PointMass(scattered(space, len(x)))
        level = torch.tanh(x.flatten(1).mean(1) + c.sum(1))
        loc = level.reshape(-1, *(1 for _ in space.shape)).expand(-1, *space.shape)
        return normal(loc, torch.full_like(loc, 0.7))

    return posterior


def prior_on(space: Space) -> Part:
    """A prior on a space without context: the standard normal where it fits, else the first installed part that does.

    Raises:
        NotApplicable: where there is none.
    """
    return next(_priors_on(space))


def _priors_on(space: Space) -> Iterator[Part]:
    for part in sorted(registry.list("prior"), key=lambda part: part.name != "normal"):
        try:
            yield part(space, (1, 8, 8), 0)
        except ShapeError:
            continue
    raise NotApplicable(f"no installed prior lives on {space}")
