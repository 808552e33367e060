"""Multi-scale structural similarity."""

import torch
import torch.nn.functional as F
from torch import Tensor

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
_LUMINANCE, _CONTRAST = 0.01**2, 0.03**2
_LEAST = 1e-6  # a power below 1 has no gradient at 0


def scales_of(height: int, width: int) -> int:
    """How many scales an image has: halved so often, its shorter side is still no less than the window, but one at least."""
    least = min(height, width)
    return 1 + sum(least >> halvings >= WINDOW for halvings in range(1, len(EXPONENTS)))


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """The similarity of images x and y (N, C, H, W) from 0 to 1, at most 1, where they are alike: (N,), mean over channels."""
    n, channels, height, width = x.shape
    scales = scales_of(height, width)
    exponents = [e / sum(EXPONENTS[:scales]) for e in EXPONENTS[:scales]]
    x, y = (image.reshape(n * channels, 1, height, width) for image in (x, y))
    similarity = x.new_ones(n * channels)
    for scale, exponent in enumerate(exponents):
        luminance, structure = _compared(x, y)
        last = scale == scales - 1
        at_scale = (luminance * structure if last else structure).mean((1, 2, 3))
        similarity = similarity * at_scale.clamp(min=_LEAST) ** exponent
        if not last:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return similarity.reshape(n, channels).mean(1)


def _compared(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast with structure, in every window of x and y (B, 1, H, W)."""
    window = _gaussian(min(WINDOW, *x.shape[2:]), x)
    moments = torch.cat([x, y, x * x, y * y, x * y])
    moments = F.conv2d(F.conv2d(moments, window[..., None]), window[:, :, None])
    of_x, of_y, of_xx, of_yy, of_xy = moments.chunk(5)
    product, squares = of_x * of_y, of_x * of_x + of_y * of_y
    luminance = (2 * product + _LUMINANCE) / (squares + _LUMINANCE)
    structure = (2 * (of_xy - product) + _CONTRAST) / (of_xx + of_yy - squares + _CONTRAST)
    return luminance, structure


def _gaussian(size: int, like: Tensor) -> Tensor:
    """A Gaussian window, (1, 1, size)."""
    at = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    weights = (-at.square() / (2 * SIGMA**2)).exp()
    return (weights / weights.sum())[None, None]
