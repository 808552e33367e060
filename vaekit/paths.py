"""Paths through a latent space."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vaekit.distributions import promote
from vaekit.errors import ConfigError

if TYPE_CHECKING:
    from vaekit.parts import Space


def path(a: Tensor, b: Tensor, steps: int, root: "Space") -> Tensor:
    """Latents z from `a` to `b`, (steps, *shape), both ends included.

    An arc where z is the root on the sphere or on a real space of more than three dimensions: the direction turns evenly, and
    the norm goes evenly from one to the other. The middle of a straight line between two draws would lie where the prior has
    next to no mass. Opposite directions, between which there are many arcs, go by way of the axis that is nearest to being
    orthogonal to them.

    A straight line everywhere else. It leaves neither the ball nor the simplex, which an arc does; and a z that is not the
    root itself may have parts on a simplex.

    References:
        Sampling Generative Networks (White; 2016), https://arxiv.org/abs/1609.04468, section 2.1.
    """
    if root.support == "codes":
        raise ConfigError("no path leads from one code to the next: interpolation is for latents of continuous values")
    a, b = promote(a, b)
    t = torch.linspace(0, 1, steps, device=a.device, dtype=a.dtype).reshape(-1, *[1] * a.dim())
    norms = (a.norm(), b.norm())
    curved = root.support == "sphere" or (root.support == "real" and a.numel() > 3)
    if a.shape != root.shape or not curved or min(norms) < 1e-6:
        return a + t * (b - a)
    return _arc((a / norms[0]).flatten(), (b / norms[1]).flatten(), t.flatten(1)).reshape(-1, *a.shape) * torch.lerp(*norms, t)


def _arc(u: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """Unit vectors from u (D,) to v (D,) at shares t (steps, 1) of the angle between them, (steps, D)."""
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    across = v - (u @ v) * u
    if across.norm() < 1e-6:
        across = F.one_hot(u.abs().argmin(), len(u)).to(u.dtype)
    across = F.normalize(across, dim=0)
    across = F.normalize(across - (u @ across) * u, dim=0)
    return F.normalize((t * angle).cos() * u + (t * angle).sin() * across, dim=1)
