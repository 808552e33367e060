"""The ELBO with a perceptual term."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Space, Terms, distributions
from vaekit_losses.shared import finished, in_nats
from vaekit_losses.similarity import ms_ssim


class MSSSIM(Loss):
    r"""$-\mathrm{ELBO} + \lambda \, (1 - \text{MS-SSIM}(x, \hat x))$ with the mean $\hat x$ of p(x | z, c).

    x (N, *data_shape), images, and c (N, C) give a scalar, mean over the batch. The multi-scale structural similarity of each
    image and its reconstruction is the mean of that of each channel,
    $\text{MS-SSIM} = l_M^{\alpha_M} \prod_{j=1}^M (c_j s_j)^{\alpha_j}$. The image is halved from scale to scale; $c_j s_j$
    compares contrast and structure and $l_M$ luminance, in a Gaussian window of 11 by 11 pixels with standard deviation 1.5,
    averaged over its places. It is 1 for images that are alike; it is meant for data from 0 to 1.

    There are $M = 5$ scales with exponents α of 0.0448, 0.2856, 0.3001, 0.2363 and 0.1333 where the shorter side is of 176
    pixels or more. Smaller images have fewer: as many as leave it 11 pixels, with the first exponents, divided by their
    sum: 4 from 88 pixels, 3 from 44, 2 from 22 (as images of 28 by 28 have), else 1. Below 11 pixels the window is as wide as
    the shorter side, with the same standard deviation.

    Its parts are, in nats per example: `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be
    estimated from the draws); `nelbo`, the sum of the two (`profile` where the likelihood's training score is of no one
    density); and `penalty`, where the latent has one, which is added to the loss only. Beside them is `ms_ssim`, the
    similarity.

    Args:
        weight: the weight λ of the dissimilarity; nats of the ELBO that one image without any similarity is worth.

    Raises:
        ShapeError: where the data are no images.
        ConfigError: in training, where the mean of the likelihood has no gradient.

    References:
        Multi-scale Structural Similarity for Image Quality Assessment (Wang, Simoncelli, Bovik; 2003),
        https://doi.org/10.1109/ACSSC.2003.1292216, eq. 7.
        Learning to Generate Images with Perceptual Similarity Metrics (Snell et al.; 2017), https://arxiv.org/abs/1511.06409,
        section 3.
    """

    name = "ms-ssim"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        weight: Annotated[float, Field(ge=0, le=1e6)] = 100.0,
    ) -> None:
        super().__init__()
        if len(data_shape) != 3:
            raise ShapeError(f"it compares images (channels, height, width), not {data_shape}")
        self.weight = weight
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        try:
            mean = trace.px.mean
        except NotImplementedError:
            name = model.likelihood.name
            raise ConfigError(f"loss 'ms-ssim': it compares means, and likelihood {name!r} has none in closed form") from None
        if self.training and torch.is_grad_enabled() and not mean.requires_grad:
            raise ConfigError("loss 'ms-ssim': the mean of this likelihood has no gradient, so that nothing learns by it")
        with distributions.full_precision(x):
            similarity = ms_ssim(*distributions.promote(x, mean)).mean()
        parts = {**in_nats(model, trace, trace.log_px()), "ms_ssim": similarity}
        nelbo = parts["reconstruction"] + parts["kl" if trace.closed else "kl_mc"]
        return finished(nelbo + self.weight * (1 - similarity), parts, trace)
