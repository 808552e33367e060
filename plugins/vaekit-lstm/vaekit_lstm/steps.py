"""Sequences of different lengths in one tensor (N, T, F), each with its padding at the end."""

import torch
from torch import Tensor


def lengths(there: Tensor) -> Tensor:
    """How many steps come before the padding, (N,), from where there are data (N, T, F); at least one."""
    step = torch.arange(there.shape[1], device=there.device)
    return 1 + (there.any(2) * step).amax(1)


def last(h: Tensor, n: Tensor) -> Tensor:
    """The n-th step of each sequence, (N, F)."""
    return h.gather(1, (n - 1)[:, None, None].expand(-1, 1, h.shape[2]))[:, 0]


def backwards(h: Tensor, n: Tensor) -> Tensor:
    """The first n steps of each sequence in reverse, (N, T, F); the padding stays where it is."""
    step = torch.arange(h.shape[1], device=h.device)
    mirrored = n[:, None] - 1 - step
    index = torch.where(mirrored < 0, step, mirrored)
    return h.gather(1, index[:, :, None].expand_as(h))
