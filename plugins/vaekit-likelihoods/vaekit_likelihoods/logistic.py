"""Logistic variables on levels: the bin that one falls into, whose first and last reach to infinity."""

import torch
import torch.nn.functional as F
from torch import Tensor


def log_bin(k: Tensor, loc: Tensor, scale: Tensor, top: int) -> Tensor:
    """log of the probability of level number k out of 0 to `top`."""
    k = k.to(loc.dtype)
    above = ((k + 0.5) / top - loc) / scale
    below = ((k - 0.5) / top - loc) / scale
    lower, upper = F.logsigmoid(above), F.logsigmoid(-below)
    inside = lower + upper + torch.log(-torch.expm1(-1 / (top * scale)))
    return torch.where(k == 0, lower, torch.where(k == top, upper, inside))


def mean_level(loc: Tensor, scale: Tensor, top: int) -> Tensor:
    """The mean level, in [0, 1]: the sum of the probabilities of lying above each of them, divided by how many there are."""
    mean = torch.zeros_like(loc)
    for k in range(top):
        mean = mean + torch.sigmoid((loc - (k + 0.5) / top) / scale)
    return mean / top


def draw(uniform: Tensor, loc: Tensor, scale: Tensor, top: int) -> Tensor:
    """Levels, in [0, 1], from draws that are uniform on (0, 1)."""
    x = loc + scale * (uniform.log() - torch.log1p(-uniform))
    return (x * top).round().clamp(0, top) / top
