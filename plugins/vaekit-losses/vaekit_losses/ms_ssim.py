"""The ELBO with a perceptual term."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from vaekit import VAE, Loss, Shape, ShapeError, Space, Terms, distributions
from vaekit_losses.shared import mean_of
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
        ConfigError: in training, where the likelihood has no mean in closed form, or one without a gradient.

    References:
        Multi-scale Structural Similarity for Image Quality Assessment (Wang, Simoncelli, Bovik; 2003),
        https://doi.org/10.1109/ACSSC.2003.1292216: the product over scales and its exponents.
        Learning to Generate Images with Perceptual Similarity Metrics (Snell et al.; 2017), https://arxiv.org/abs/1511.06409:
        such a term for autoencoders.
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
        mean = mean_of(self, model, trace.px)
        with distributions.full_precision(x):
            similarity = ms_ssim(*distributions.promote(x, mean)).mean()
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        parts = {**model.in_nats(trace, log_px, kl), "ms_ssim": similarity}
        return Terms.of(trace, kl - log_px + self.weight * (1 - similarity), parts)
