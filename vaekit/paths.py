"""Paths through a latent space."""

import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.parts import Space


def path(a: Tensor, b: Tensor, steps: int, root: Space) -> Tensor:
    """Latents from `a` to `b`, (steps, *shape), both ends included.

    A straight line up to three dimensions, in the ball and on the simplex. Else the arc between the directions with the norm
    going evenly from one to the other, because the middle of a straight line between two draws lies where the prior has next to
    no mass.

    References:
        Sampling Generative Networks (White; 2016), https://arxiv.org/abs/1609.04468, section 2.1.
    """
    if root.support == "codes":
        raise ConfigError(f"no path leads from one latent to another in a space of {root.support}")
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype).reshape(-1, *[1] * a.dim())
    line = a + t * (b - a)
    norms = (a.norm(), b.norm())
    straight = root.support in ("ball", "simplex") or (root.support == "real" and a.numel() <= 3)
    if straight or min(norms) < 1e-6:
        return line
    angle = torch.arccos(((a / norms[0]) * (b / norms[1])).sum().clamp(-1, 1))
    if angle.sin() < 1e-4:  # the same direction, where the arc is the line, or opposite ones, where there is no one arc
        return line
    arc: Tensor = (torch.sin((1 - t) * angle) * a / norms[0] + torch.sin(t * angle) * b / norms[1]) / angle.sin()
    norm: Tensor = norms[0] + t * (norms[1] - norms[0])
    return arc * norm
