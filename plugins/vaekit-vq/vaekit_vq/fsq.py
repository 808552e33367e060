"""Finite scalar quantisation."""

from math import prod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vaekit import ConfigError, Shape, Space
from vaekit_vq.codes import Codes, Positions, straight_through

Levels = Annotated[tuple[Annotated[int, Field(ge=2, le=256)], ...], Field(min_length=1, max_length=16, strict=False)]


class FSQ(Codes):
    r"""Each of a few numbers a position is rounded to one of its levels: $z_i = \operatorname{round}(f(e_i)) / \lfloor L_i / 2
    \rfloor$, with $f(e) = h \tanh(e + s) - o$, which stays within L integers: $h = (1 - 10^{-3})(L - 1) / 2$, o is 1/2 for even
    L and 0 for odd ones, and $s = \tan(o / h)$.

    h (N, C, H, W) and c (N, K) give codes (N, H, W) and z (S, N, D, H, W) in [-1, 1], for D levels, by a 1x1 convolution to the
    e; any other h (N, *in_shape) gives codes (N, positions) and z (S, N, positions * D), by a dense layer. The code of a
    position is one integer, of which the levels are the digits, the first the lowest: there are $\prod_i L_i$.

    There is no codebook to learn and no penalty, and little to collapse. Rounding passes gradients straight through. Nothing is
    random: all S draws are one, and the code is z itself.

    Args:
        levels: how many each number has. The paper has [8, 6, 5], [8, 5, 5, 5] and [7, 5, 5, 5, 5] for 240, 1,000 and 4,375
            codes.
        positions: codes an example, where h is no map.

    Raises:
        ConfigError: where there are more than 1,048,576 codes.

    References:
        Finite Scalar Quantization: VQ-VAE Made Simple (Mentzer, Minnen, Agustsson, Tschannen; 2023),
        https://arxiv.org/abs/2309.15505, section 3.1 and appendix A.1.
    """

    name = "fsq"
    levels: Tensor
    places: Tensor

    def __init__(self, in_shape: Shape, context: int, *, levels: Levels = (8, 5, 5, 5), positions: Positions = 8) -> None:
        if prod(levels) > _MOST:
            raise ConfigError(f"latent 'fsq': these levels are {prod(levels):,} codes: at most {_MOST:,}")
        super().__init__(in_shape, context, len(levels), positions)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("places", torch.tensor([prod(levels[:i]) for i in range(len(levels))]), persistent=False)
        self.root = Space(self.positions, "codes", prod(levels))

    def nearest(self, e: Tensor) -> Tensor:
        return self._codes(self._bounded(e).round())

    def vectors(self, codes: Tensor) -> Tensor:
        digits = codes[..., None].div(self.places, rounding_mode="floor") % self.levels
        like = next(self.head.parameters())
        return self._scaled((digits - self.levels // 2).to(like.dtype))

    def quantized(self, e: Tensor) -> tuple[Tensor, Tensor, None]:
        bounded = self._bounded(e)
        rounded = bounded.detach().round()
        return self._codes(rounded), self._scaled(straight_through(rounded, bounded)), None

    def _bounded(self, e: Tensor) -> Tensor:
        """f(e), from -L / 2 to L / 2."""
        half = (self.levels - 1) * ((1 - 1e-3) / 2)
        offset = 0.5 * (1 - self.levels % 2)
        return torch.tanh(e + torch.tan(offset / half)) * half.to(e.dtype) - offset.to(e.dtype)

    def _codes(self, rounded: Tensor) -> Tensor:
        return ((rounded.to(torch.int64) + self.levels // 2) * self.places).sum(-1)

    def _scaled(self, rounded: Tensor) -> Tensor:
        return rounded / (self.levels // 2)


_MOST = 2**20
