"""A vision transformer."""

from math import prod
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import ConfigError, Encoder, Shape, ShapeError, join, mask
from vaekit_vit.layer import TransformerLayer
from vaekit_vit.positions import waves


class ViTEncoder(Encoder):
    r"""Self-attention over the patches of an image, or over the steps of a sequence.

    Each patch of an image (C, H, W), filled up with zeros at its right and bottom edges where the patches do not divide it, or
    each step of a sequence (T, F), is joined by the context and becomes a token: $t_i = W [x_i, c] + e_i$ with its position
    $e_i$. Layers follow, each $t' = t + A(\bar t)$ and $t'' = t' + M(\bar t')$ with attention A, a perceptron M of four times
    the width and normalisation before each. x (N, *in_shape) and c (N, C) give h, the last layer's tokens where they are:
    (N, width, rows, columns) or (N, steps, width).

    With `pool` it is (N, width) instead, as for classification. Both ways of pooling say little of what is where before the
    layers have learned to, while the KL weighs from the first step: a model may then give its latents up, unless the loss
    begins with less KL (`loss.warmup` of `elbo`).

    Steps of NaN at the end of a sequence are padding: no token looks at them, and in h they are zeros or not counted. A single
    NaN before that is read as zero, and a sequence of padding alone as one step of zeros; training refuses both in data that
    are in memory.

    Args:
        patch: height and width of a patch; no matter for sequences.
        width: numbers of each token.
        layers: how many.
        heads: of attention in each layer; they divide the width.
        positions: `learned`; `sincos`, fixed waves of row and column or of the step; or `none`, by which no token knows its
            place.
        pool: `none`; `mean`, of the last layer's tokens; or `class`, one more token that looks at all others.

    Raises:
        ConfigError: where the heads, or the waves of `sincos`, do not divide the width.

    References:
        An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale (Dosovitskiy et al.; 2020),
        https://arxiv.org/abs/2010.11929, eq. 1 to 4.
        For `sincos`: Attention Is All You Need (Vaswani et al.; 2017), https://arxiv.org/abs/1706.03762, section 3.5.
    """

    name = "vit"
    takes_padding = True
    positions: Tensor | None

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        patch: Annotated[int, Field(ge=1, le=64)] = 4,
        width: Annotated[int, Field(ge=1, le=4096)] = 64,
        layers: Annotated[int, Field(ge=1, le=32)] = 4,
        heads: Annotated[int, Field(ge=1, le=64)] = 4,
        positions: Literal["learned", "sincos", "none"] = "learned",
        pool: Literal["none", "mean", "class"] = "none",
    ) -> None:
        super().__init__()
        if len(in_shape) not in (2, 3):
            raise ShapeError(f"it reads images (channels, height, width) or sequences (steps, features), not {in_shape}")
        if width % heads:
            raise ConfigError(f"{heads} heads have no equal shares of a width of {width}: give a multiple of {heads}")
        self.image, self.patch, self.pool = len(in_shape) == 3, patch, pool
        places, features = _tokens(in_shape, patch)
        if positions == "sincos":
            if width % (2 * len(places)):
                raise ConfigError(
                    f"positions of {width} numbers are no sines and cosines: give a multiple of {2 * len(places)}"
                )
            self.register_buffer("positions", waves(places, width), persistent=False)
        else:
            self.positions = _small(prod(places), width) if positions == "learned" else None
        self.embed = nn.Linear(features + context, width)
        self.class_token = _small(1, width) if pool == "class" else None
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        if pool == "none":
            self.out_shape = (width, *places) if self.image else (*places, width)
        else:
            self.out_shape = (width,)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        tokens, seen = self._patches(x) if self.image else self._steps(x)
        h: Tensor = self.embed(join(tokens, c))
        if self.positions is not None:
            h = h + self.positions
        if self.class_token is not None:
            h = torch.cat([self.class_token.to(h.dtype).expand(h.shape[0], 1, -1), h], 1)
            seen = None if seen is None else F.pad(seen, (1, 0), value=True)
        for layer in self.layers:
            h = layer(h, seen)
        return self._pooled(self.norm(h), seen)

    def _pooled(self, h: Tensor, seen: Tensor | None) -> Tensor:
        if self.pool == "class":
            return h[:, 0]
        if seen is not None:
            h = h.masked_fill(~seen[:, :, None], 0)
        if self.pool == "none":
            return (h.transpose(1, 2) if self.image else h).reshape(-1, *self.out_shape)
        return h.mean(1) if seen is None else h.sum(1) / seen.sum(1, keepdim=True)

    def _patches(self, x: Tensor) -> tuple[Tensor, None]:
        down, right = (-side % self.patch for side in x.shape[2:])
        return F.unfold(F.pad(x, (0, right, 0, down)), self.patch, stride=self.patch).transpose(1, 2), None

    def _steps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        there = mask(x)
        first = torch.arange(x.shape[1], device=x.device) == 0
        return x.masked_fill(~there, 0), there.any(2) | first


def _tokens(shape: Shape, patch: int) -> tuple[tuple[int, ...], int]:
    """How many tokens along each axis, and the numbers of which each is made."""
    if len(shape) == 2:
        return shape[:1], shape[1]
    return (-(-shape[1] // patch), -(-shape[2] // patch)), shape[0] * patch**2


def _small(*shape: int) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(shape))
    nn.init.normal_(parameter, std=0.02)
    return parameter
