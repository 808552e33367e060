"""A transposed-convolutional decoder that solves its own shapes."""

from math import prod

from torch import Tensor, nn

from vaekit import Activation, Decoder, Shape, Widths, join
from vaekit import dense as layers_of
from vaekit_conv.layers import Channels, Depth, Kernel, Norm, Strides, Width, check_image, finish, plan, sizes


class TransposedConvDecoder(Decoder):
    r"""Dense layers to a small map, then transposed convolutions up to the image: the mirror of the `conv` encoder.

    A layer of stride s takes a side of $\lceil n / s \rceil$ to exactly n by an output padding of
    $n - 1 - s (\lceil n / s \rceil - 1)$, so that every height and width from 1 by 1 comes out right, odd ones included.
    z (N, *in_shape) and c (N, C) give θ (N, *out_shape). `width`, `depth`, `channels` and `strides` are written as for the
    encoder, nearest the image first; the layer nearest the image gives θ itself.

    Args:
        width: channels that the layer nearest the image takes; each further one takes twice as many.
        depth: how many transposed convolutions.
        channels: that each takes, in place of `width` and `depth`.
        strides: of each; 2 unless given.
        dense: width of each dense layer before the one that makes the map.
        kernel: height and width of the filters.
        norm: `batch`, `group` (up to eight groups) or `none`.
        activation: after each normalisation.

    References:
        Unsupervised Representation Learning with DCGAN (Radford, Metz, Chintala; 2015), https://arxiv.org/abs/1511.06434,
        section 3.
        A guide to convolution arithmetic for deep learning (Dumoulin, Visin; 2016), https://arxiv.org/abs/1603.07285,
        relationship 14.
    """

    name = "transposed-conv"

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        width: Width = 32,
        depth: Depth = 2,
        channels: Channels = (),
        strides: Strides = (),
        dense: Widths = (),
        kernel: Kernel = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_image(out_shape)
        planned = plan(width, depth, channels, strides)
        sides = sizes(out_shape, planned)[::-1]
        planned = planned[::-1]
        self.start = (planned[0][0], *sides[0])
        widths = (prod(in_shape) + context, *dense, prod(self.start))
        self.dense = layers_of(widths)
        layers: list[nn.Module] = []
        takes = [taken for taken, _ in planned]
        gives = [*takes[1:], out_shape[0]]
        for i, (before, after, (_, stride)) in enumerate(zip(takes, gives, planned, strict=True)):
            last = i == len(planned) - 1
            small, large = sides[i], sides[i + 1]
            padding = (large[0] - 1 - stride * (small[0] - 1), large[1] - 1 - stride * (small[1] - 1))
            layers.append(nn.ConvTranspose2d(before, after, kernel, stride, kernel // 2, padding, bias=last or norm == "none"))
            if not last:
                layers += finish(after, norm, activation)
        self.layers = nn.Sequential(*layers)
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        h = self.dense(join(z.flatten(1), c))
        theta: Tensor = self.layers(h.reshape(-1, *self.start))
        return theta
