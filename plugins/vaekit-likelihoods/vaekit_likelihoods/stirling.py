"""What Stirling's formula leaves out of log Γ, for densities in which large terms of log Γ cancel."""

from math import log, pi

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * log(2 * pi)


def rest(z: Tensor, log_z: Tensor) -> Tensor:
    r"""$\log \Gamma(z) - (z - \frac12) \log z + z - \frac12 \log 2\pi$, small and decreasing in z > 0.

    Args:
        z: which may be so small that it counts as 0.
        log_z: its logarithm.

    References:
        Fast and Accurate Computation of Binomial Probabilities (Loader; 2000), section 2, which splits factorials so.
    """
    small = z < _FAR
    near, log_near = torch.where(small, z, 1.0), torch.where(small, log_z, 0.0)
    exact = torch.lgamma(near + 1) - (near + 0.5) * log_near + near - HALF_LOG_2PI
    square = z.clamp(min=_FAR) ** -2
    series = (1 / 12 - square * (1 / 360 - square / 1260)) / z.clamp(min=_FAR)
    return torch.where(small, exact, series)


_FAR = 8.0
