r"""How near reconstructions are to their originals: squared errors, PSNR and SSIM, one number an example, in float64.

Each takes the originals `x` (N, *data_shape) and what was `reconstructed` from them. A mean over the examples is the caller's.
"""

from math import prod

import torch
from torch import Tensor

from vaekit.errors import DataError


def squared_error(x: Tensor, reconstructed: Tensor) -> Tensor:
    r"""The squared error summed over the dimensions of an example: $\sum_d (x_d - \hat x_d)^2$.

    With a Gaussian likelihood of standard deviation σ, the reconstruction term is this over $2 \sigma^2$, and a constant.

    Args:
        x: originals, (N, *data_shape).
        reconstructed: of the same shape.

    Returns:
        (N,), in squared units of the data.
    """
    _check("squared_error", x, reconstructed)
    return _squares(x, reconstructed).sum(1)


def mse(x: Tensor, reconstructed: Tensor) -> Tensor:
    r"""The mean squared error over the D dimensions of an example: $\frac1D \sum_d (x_d - \hat x_d)^2$.

    Args:
        x: originals, (N, *data_shape).
        reconstructed: of the same shape.

    Returns:
        (N,), in squared units of the data.
    """
    _check("mse", x, reconstructed)
    return _squares(x, reconstructed).mean(1)


def psnr(x: Tensor, reconstructed: Tensor) -> Tensor:
    r"""The peak signal-to-noise ratio of each example, for data in [0, 1]: $-10 \log_{10} \mathrm{MSE}$.

    The mean of these over a data set is the per-image version. It is higher than the PSNR of the mean error over the data set,
    often by half a decibel, and the two must not be compared. An error below $10^{-10}$ counts as $10^{-10}$: an exact
    reconstruction has 100 dB, and does not make the mean of a data set infinite.

    Args:
        x: originals in [0, 1], (N, *data_shape).
        reconstructed: of the same shape; values outside [0, 1] are compared as they are.

    Returns:
        (N,), in decibels, at most 100.
    """
    _check("psnr", x, reconstructed, unit=True)
    return -10 * _squares(x, reconstructed).mean(1).clamp(min=_LEAST_MSE).log10()


def ssim(x: Tensor, reconstructed: Tensor, window: int = 11) -> Tensor:
    r"""The structural similarity of each image and its reconstruction, for images in [0, 1].

    $$\frac{(2 \mu_x \mu_y + C_1)(2 \sigma_{xy} + C_2)}{(\mu_x^2 + \mu_y^2 + C_1)(\sigma_x^2 + \sigma_y^2 + C_2)}$$

    averaged over the channels and over every position at which the window lies inside the image. Means and covariances are
    weighted by a Gaussian window of standard deviation 1.5 whose weights sum to one; $C_1 = 0.01^2$ and $C_2 = 0.03^2$. This
    is scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)`.

    Args:
        x: originals in [0, 1], (N, C, H, W).
        reconstructed: of the same shape; values outside [0, 1] are compared as they are.
        window: its width, odd. Images smaller than 11 x 11 need a smaller one, which gives numbers of another kind: name it
            wherever they are shown.

    Returns:
        (N,), between -1 and 1 (identical).

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang, Bovik, Sheikh, Simoncelli; 2004),
        https://doi.org/10.1109/TIP.2003.819861, eq. 13 to 17.
    """
    if x.dim() != 4:
        raise DataError(f"ssim is of images (N, C, H, W); data of shape {_shape(x)} have none: leave it out, or use mse")
    _check("ssim", x, reconstructed, unit=True)
    height, width = x.shape[2:]
    if window < 3 or window % 2 == 0:
        raise DataError(f"the window of ssim is {window}: its width is an odd number, 3 or more")
    if window > min(height, width):
        fits = (min(height, width) - 1) // 2 * 2 + 1
        todo = f"give window={fits}, and name it wherever the numbers are shown" if fits >= 3 else "leave it out, or use mse"
        raise DataError(f"ssim has a window of {window} x {window}, and these images are {height} x {width}: {todo}")
    at_once = max(1, _ELEMENTS_AT_ONCE // prod(x.shape[1:]))
    found = torch.empty(len(x), dtype=torch.float64, device=x.device)
    for some, others, result in zip(*(t.detach().split(at_once) for t in (x, reconstructed, found)), strict=True):
        result.copy_(_similarity(some.double(), others.double(), window))
    return found


def _similarity(x: Tensor, y: Tensor, window: int) -> Tensor:
    down, across = (_smoothing(size, window, x) for size in x.shape[2:])
    moments = down @ torch.stack([x, y, x * x, y * y, x * y]) @ across.T  # (5, N, C, H - window + 1, W - window + 1)
    mean_x, mean_y, square_x, square_y, product = moments
    means = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    similarity: Tensor = (2 * means + _C1) * (2 * (product - means) + _C2)
    similarity = similarity / ((squares + _C1) * (square_x + square_y - squares + _C2))
    return similarity.flatten(1).mean(1)


def _smoothing(size: int, window: int, like: Tensor) -> Tensor:
    """The matrix that a vector of `size` is multiplied by to be smoothed; a product is faster than a convolution in float64."""
    offset = torch.arange(window, dtype=like.dtype, device=like.device) - window // 2
    weights = (-(offset**2) / (2 * _SIGMA**2)).exp()
    rows = size - window + 1
    matrix = like.new_zeros(rows, size)
    at = torch.arange(rows, device=like.device)[:, None] + torch.arange(window, device=like.device)
    return matrix.scatter_(1, at, (weights / weights.sum()).expand(rows, window))


def _squares(x: Tensor, reconstructed: Tensor) -> Tensor:
    return (x.detach().double() - reconstructed.detach().double()).square().flatten(1)


def _check(what: str, x: Tensor, reconstructed: Tensor, unit: bool = False) -> None:
    if x.shape != reconstructed.shape:
        raise DataError(f"{what} compares tensors of one shape; these are {_shape(x)} and {_shape(reconstructed)}")
    if x.dim() < 2 or not x.numel():
        raise DataError(f"{what} is of examples (N, *data_shape); there are none in a tensor of shape {_shape(x)}")
    for name, values in (("x", x), ("reconstructed", reconstructed)):
        if not values.is_floating_point():
            raise DataError(f"{what}: {name} is of {values.dtype}; give floats in [0, 1], of bytes x / 255")
        if not values.isfinite().all():
            raise DataError(f"{what}: {name} holds values that are not finite")
    if unit and not (x.min() >= 0 and x.max() <= 1):
        least, most = x.min().item(), x.max().item()
        raise DataError(f"{what} is of data in [0, 1], and x is in [{least:.4g}, {most:.4g}]: rescale both, or use mse")


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


_LEAST_MSE = 1e-10
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2
_ELEMENTS_AT_ONCE = 500_000  # of images; SSIM makes some ten times as many numbers of each
