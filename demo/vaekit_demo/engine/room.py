"""Where the codes of a model can be: all of a real space, or a sphere, a ball or simplices in one."""

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Literal

import torch
from torch import Tensor

from vaekit import Latent
from vaekit.trace import Draw

Support = Literal["real", "sphere", "ball", "simplex", "codes"]


@dataclass(frozen=True)
class Block:
    """Numbers of a code, one after the other, that are in a space of their own.

    Args:
        size: how many they are.
        support: the space, as of a root latent.
        radius: of the sphere or the ball.
        classes: of each simplex; the numbers are one row after the other.
    """

    size: int
    support: Support
    radius: float = 1.0
    classes: int = 1

    @property
    def ends(self) -> tuple[float, float] | None:
        """The least and the most that one of the numbers can be; None where there are none."""
        if self.support in ("sphere", "ball"):
            return -self.radius, self.radius
        return (0.0, 1.0) if self.support == "simplex" else None

    def within(self, z: Tensor, held: Tensor) -> Tensor:
        """Numbers (N, size) brought into it; their parts along the directions held (K, size) stay, as far as that can be."""
        if self.support in ("sphere", "ball"):
            return self._round(z, held)
        return self._rows(z, held.amax(0) if len(held) else torch.zeros(self.size)) if self.support == "simplex" else z

    def _round(self, z: Tensor, held: Tensor) -> Tensor:
        if len(held) == self.size:
            moved = z * self.radius / _length(z)
        else:
            kept = z @ held.T @ held
            rest = z - kept
            kept = kept * (self.radius * _MOST_HELD / _length(kept)).clamp(max=1)
            other = torch.linspace(1, 2, self.size).to(z).expand_as(z)  # where nothing says which way to go
            rest = torch.where(_length(rest) > 1e-6, rest, other - other @ held.T @ held)
            moved = kept + rest * ((self.radius**2 - (kept * kept).sum(-1, keepdim=True)).sqrt() / _length(rest))
        return moved if self.support == "sphere" else torch.where(_length(z) > self.radius, moved, z)

    def _rows(self, z: Tensor, held: Tensor) -> Tensor:
        rows, fixed = z.clamp(min=0).unflatten(-1, (-1, self.classes)), (held > 0.999).reshape(-1, self.classes)
        free = (~fixed).sum(-1, keepdim=True)
        share = (rows * fixed).sum(-1, keepdim=True)
        kept = rows * fixed / torch.where(free > 0, share.clamp(min=1), share.clamp(min=1e-9))
        rest = rows * ~fixed
        total = rest.sum(-1, keepdim=True)
        rest = torch.where(total > 1e-6, rest / total.clamp(min=1e-9), ~fixed / free.clamp(min=1))
        moved: Tensor = kept + rest * (1 - kept.sum(-1, keepdim=True))
        return moved.flatten(-2)


_MOST_HELD = 1 - 1e-3
"""Of the radius, that is held: the rest says which way the remaining directions go."""


@dataclass(frozen=True)
class Room:
    """All blocks of a code.

    Args:
        blocks: side by side.
        whole: whether a code is a root latent, as it is.
    """

    blocks: tuple[Block, ...]
    whole: bool

    @classmethod
    def of(cls, latent: Latent, draw: Draw, c: Tensor) -> "Room":
        """As a draw under contexts c (N, C) shows it: what the decoder sees may be several layers side by side."""
        root, z = latent.root, draw.z.flatten(2)
        layers = torch.cat([site.z.flatten(2).to(z.dtype) for site in draw.sites], -1)
        if root.support == "codes" or not torch.equal(layers, z):
            return cls((Block(z.shape[-1], root.support, *_sizes(latent, c)),), False)
        first = Block(root.dimensions, root.support, *_sizes(latent, c))
        return cls((first, *(_seen(site.z) for site in draw.sites[1:])), len(draw.sites) == 1)

    @property
    def parts(self) -> list[tuple[Block, slice]]:
        """The blocks, and where in a code they are."""
        stops = list(accumulate(block.size for block in self.blocks))
        return [(block, slice(stop - block.size, stop)) for block, stop in zip(self.blocks, stops, strict=True)]

    @property
    def closed(self) -> str:
        """Why there is nothing between codes; empty where there is."""
        support = self.blocks[0].support
        if support == "codes":
            return "The latents of this model are codes, whole numbers with nothing between them"
        picked = support == "simplex" and len(self.blocks) == 1 and not self.whole  # the largest of each row is what is seen
        return "The latents of this model are categories, with nothing between them" if picked else ""

    def block(self, i: int) -> Block:
        """The block that number i of a code is in."""
        return next(block for block, part in self.parts if i < part.stop)

    def within(self, z: Tensor, held: Tensor | None = None) -> Tensor:
        """Codes (N, D) brought to where codes can be.

        Args:
            z: the codes.
            held: directions (K, D) of length one at right angles to each other, along which they stay, as far as that can be.
        """
        directions = z.new_zeros(0, z.shape[1]) if held is None else held
        moved = []
        for block, part in self.parts:
            own = directions[:, part]
            moved.append(block.within(z[:, part], own[_length(own)[:, 0] > 0.999]))
        return torch.cat(moved, 1)


def _sizes(latent: Latent, c: Tensor) -> tuple[float, int]:
    """The radius of a ball as the decoder sees it, and the classes of a simplex."""
    root = latent.root
    if root.support != "ball":
        return 1.0, root.shape[-1] if root.support == "simplex" else 1
    edge = c.new_zeros(1, root.dimensions)
    edge[0, 0] = 1 - 1e-6
    return float(latent.generate(edge.reshape(1, *root.shape), c[:1]).norm()), 1


def _seen(z: Tensor) -> Block:
    """What layer these draws are of."""
    size, classes = prod(z.shape[2:]), z.shape[-1]
    rows = classes > 1 and bool((z >= 0).all()) and bool(((z.sum(-1) - 1).abs() < 1e-3).all())
    return Block(size, "simplex", classes=classes) if rows else Block(size, "real")


def _length(z: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
    return length.clamp(min=1e-9)
