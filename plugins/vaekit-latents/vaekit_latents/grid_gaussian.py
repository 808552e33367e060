"""The diagonal Gaussian latent on a grid."""

from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Shape, Space, distributions, join
from vaekit_latents.one_layer import OneLayer
from vaekit_latents.options import Scale, deviation

Side = Annotated[int, Field(ge=1, le=256)]


class GridGaussian(OneLayer):
    r"""$q(z \mid x, c) = \mathcal N(z; \mu(h, c), \operatorname{diag} \sigma^2(h, c))$ on a grid (channels, height, width).

    A map h (N, K, H, W) of the `conv` encoder, say, keeps its height and width: a convolution of one pixel takes each place,
    joined with the context, to its own channels. From other features h (N, *in_shape) one dense layer makes the whole grid.
    With c (N, C) both give z (S, N, channels, height, width), drawn as $\mu + \sigma \odot \varepsilon$. The code is $\mu$.

    Args:
        channels: of the grid.
        height: of the grid, where h is no map.
        width: of the grid, where h is no map.
        scale: `exp` for $\sigma = \exp(s / 2)$ with s, the log-variance, held within ±20; `softplus` for
            $\sigma = \log(1 + \exp s) + 10^{-6}$.

    References:
        High-Resolution Image Synthesis with Latent Diffusion Models (Rombach, Blattmann, Lorenz, Esser, Ommer; 2021),
        https://arxiv.org/abs/2112.10752, section 3.1.
    """

    name = "grid-gaussian"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        channels: Annotated[int, Field(ge=1, le=4096)] = 4,
        height: Side = 4,
        width: Side = 4,
        scale: Scale = "exp",
    ) -> None:
        super().__init__()
        self.of_map = len(in_shape) == 3
        self.head: nn.Module
        if self.of_map:
            height, width = in_shape[1:]
            self.head = nn.Conv2d(in_shape[0] + context, 2 * channels, 1)
        else:
            self.head = nn.Linear(prod(in_shape) + context, 2 * channels * height * width)
        self.scale = scale
        self.out_shape = (channels, height, width)
        self.root = Space(self.out_shape)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        loc, s = distributions.promote(*self._moments(h, c))
        return distributions.normal(loc, deviation(s, self.scale))

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._moments(h, c)[0]

    def _moments(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        both = self.head(join(h if self.of_map else h.flatten(1), c))
        channels, height, width = self.out_shape
        loc, s = both.reshape(-1, 2 * channels, height, width).chunk(2, dim=1)
        return loc, s
