"""Modified Bessel functions of the first kind, for concentrations from 0 to as large as floats go."""

from math import ceil, pi
from typing import Any

import torch
from numpy.polynomial import Polynomial
from torch import Tensor

_TERMS = 6
_LEAST = 12
"""The order from which so many terms give nine digits, whatever the argument is."""


def _expansion() -> list[list[float]]:
    r"""Coefficients of the polynomials $D_k(p)$ in $\log \sum_k U_k(p) / w^k = \sum_k D_k(p) / w^k$."""
    bend = Polynomial([0, 0, 0.5, 0, -0.5])
    slopes = [Polynomial([1 / 8, 0, -5 / 8])]
    while len(slopes) < _TERMS:
        products = sum((a * b for a, b in zip(slopes[:-1], slopes[-2::-1], strict=True)), Polynomial([0.0]))
        slopes.append((bend * slopes[-1]).deriv() + bend * products)
    return [[float(a) for a in slope.integ().coef] for slope in slopes]


_D = _expansion()


def log_bessel(kappa: Tensor, order: float) -> tuple[Tensor, Tensor]:
    r"""$L = v \log \kappa + \kappa - \log I_v(\kappa)$ and $b = \kappa - \kappa I_{v+1}(\kappa) / I_v(\kappa)$.

    v is the order. Both stay finite as κ goes to 0, and b does as κ grows. $L' = b / \kappa$. Both can be differentiated as
    often as wanted. At orders below 12 those above come first, and $I_{u-1} = I_{u+1} + 2u I_u / \kappa$ leads down to v: all
    its terms are positive, so that errors shrink on the way.

    Args:
        kappa: positive, any shape; in float64 for nine digits.
        order: v, 0 or more.

    References:
        NIST Digital Library of Mathematical Functions, https://dlmf.nist.gov/10.41, eq. 10.41.3 and 10.41.9: the uniform
        expansion; https://dlmf.nist.gov/10.29, eq. 10.29.1: the recurrence.
    """
    log_scaled, b = _LogBessel.apply(kappa, order)
    return log_scaled, b


class _LogBessel(torch.autograd.Function):
    """L and b, with gradients that are made of κ and b."""

    @staticmethod
    def forward(ctx: Any, kappa: Tensor, order: float) -> tuple[Tensor, Tensor]:
        log_scaled, b = _evaluated(kappa, order)
        ctx.save_for_backward(kappa, b)
        ctx.order = order
        return log_scaled, b

    @staticmethod
    def backward(ctx: Any, of_log: Tensor, of_b: Tensor) -> tuple[Tensor, None]:
        kappa, b = ctx.saved_tensors
        ratio = b / kappa
        curved = b + (1 - ratio) * (b - 2 * ctx.order - 1)  # κ A', where A is the ratio of the two Bessel functions
        return of_log * ratio + of_b * (ratio - curved), None


def _evaluated(kappa: Tensor, order: float) -> tuple[Tensor, Tensor]:
    w = order + max(0, ceil(_LEAST - order))
    size = (kappa * kappa + w * w).sqrt()
    p = w / size
    series, slope = _horner([sum(d[i] / w**k for k, d in enumerate(_D, 1) if i < len(d)) for i in range(len(_D[-1]))], p)
    log_scaled = w * (w + size).log() - w * w / (size + kappa) + (2 * pi * size).log() / 2 - series
    b = 2 * w * kappa / (kappa + w + size) + (kappa / size) ** 2 * (0.5 + p * slope)
    while w > order:
        above = 2 * w - b
        log_scaled = log_scaled - (above + kappa).log()
        b = kappa * above / (above + kappa)
        w -= 1
    return log_scaled, b


def _horner(coefficients: list[float], p: Tensor) -> tuple[Tensor, Tensor]:
    """The value and the slope of a polynomial."""
    value, slope = torch.full_like(p, coefficients[-1]), torch.zeros_like(p)
    for coefficient in coefficients[-2::-1]:
        slope = slope * p + value
        value = value * p + coefficient
    return value, slope
