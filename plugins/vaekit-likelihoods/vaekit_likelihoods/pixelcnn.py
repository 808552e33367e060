"""An autoregressive likelihood: a shallow PixelCNN over the image, given what the decoder says of each pixel."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit import Likelihood, Shape, ShapeError, distributions
from vaekit_likelihoods.categorical import Categorical
from vaekit_likelihoods.density import Sizes
from vaekit_likelihoods.discretized_logistic_mixture import Components, DiscretizedLogisticMixture
from vaekit_likelihoods.levels import Levels

Head = Callable[[Tensor], Distribution]


class PixelCNN(Likelihood):
    r"""$\log p(x \mid \theta) = \sum_i \log p(x_i \mid x_1, \dots, x_{i-1}, \theta)$, in nats per example.

    The numbers of an image x (N, C, H, W) come row by row, pixel by pixel, and channel by channel within a pixel (red, green,
    blue). A net of masked convolutions, of which no output sees its own number or a later one, gives the distribution of each;
    θ (N, *in_shape), feature maps of the size of the image, enters it at every pixel. in_shape is (width, H, W). The net sees
    `kernel // 2 + depth` pixels far and no further: what lies in the near is its own, what the whole image shows has to come
    by way of z. Where the net alone is good enough, the posterior collapses and z says nothing: make it shallow.

    log_prob takes one pass for all numbers. A draw takes one number after the other: C·H·W small steps, with as much arithmetic
    in all as C passes of log_prob. There is no closed mean: `mean` raises NotImplementedError.

    Args:
        width: channels of θ, and of the net (rounded up to a multiple of C).
        depth: residual blocks of masked 3×3 convolutions.
        kernel: height and width of the first masked convolution, which sees x.
        output: `bernoulli` for binary data; for data of levels `categorical`, a free probability for each, or
            `logistic-mixture`, as in `discretized-logistic-mixture`.
        levels: how many, evenly from 0 to 1, where the output is not `bernoulli`; 256 for bytes divided by 255.
        components: of the mixtures.

    Raises:
        ShapeError: for anything but images.

    References:
        PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al.; 2016), https://arxiv.org/abs/1611.05013,
        section 3.1; Pixel Recurrent Neural Networks (van den Oord, Kalchbrenner, Kavukcuoglu; 2016),
        https://arxiv.org/abs/1601.06759, section 2.1 for the order, and 3.3 to 3.5 for the blocks and the masks.
    """

    name = "pixelcnn"
    base_measure = "counting"
    expected_failures = {"mean-matches-samples": "what one number is depends on all before it, so its mean has no closed form"}

    def __init__(
        self,
        data_shape: Shape,
        *,
        width: Annotated[int, Field(ge=1, le=4096)] = 32,
        depth: Annotated[int, Field(ge=0, le=16)] = 2,
        kernel: Literal[3, 5, 7] = 5,
        output: Literal["bernoulli", "categorical", "logistic-mixture"] = "bernoulli",
        levels: Levels = 256,
        components: Components = 5,
    ) -> None:
        super().__init__()
        if len(data_shape) != 3:
            raise ShapeError(f"it is for images (channels, height, width), not for shape {tuple(data_shape)}")
        self.head: Head
        match output:
            case "bernoulli":
                self.head, numbers = distributions.bernoulli, 1
                self.support = constraints.boolean
            case "categorical":
                part: Likelihood = Categorical((1, 1, 1), levels=levels)
                self.head, numbers = part, part.in_shape[0]
                self.support = part.support
            case "logistic-mixture":
                part = DiscretizedLogisticMixture((1, 1, 1), components=components, levels=levels)
                self.head, numbers = part, part.in_shape[0]
                self.support = part.support
        self.net = _Net(data_shape[0], width, depth, kernel, numbers)
        self.in_shape = (width, *data_shape[1:])
        self.out_shape = data_shape

    def forward(self, theta: Tensor) -> Distribution:
        return _PixelCNN(self.net, self.head, *distributions.promote(theta))


class _Masked(nn.Conv2d):
    """A convolution of which the output at a number sees earlier numbers, and this one itself if `own`.

    Features are in groups of equal size, one after the other, a group for each channel of the image.
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, channels: int, own: bool) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        middle = kernel // 2
        mask = torch.zeros_like(self.weight)
        mask[:, :, :middle] = 1
        mask[:, :, middle, :middle] = 1
        of_output = torch.arange(outputs, device=mask.device) * channels // outputs
        of_input = torch.arange(inputs, device=mask.device) * channels // inputs
        earlier = of_input <= of_output[:, None] if own else of_input < of_output[:, None]
        mask[:, :, middle, middle] = earlier.to(mask.dtype)
        self.register_buffer("mask", mask, persistent=False)
        seen = mask.sum((1, 2, 3), keepdim=True).clamp(min=1)
        assert self.bias is not None
        with torch.no_grad():  # for relu, by the inputs that are left: by all of them it would begin with next to nothing
            self.weight.normal_().mul_((2 / seen).sqrt())
            self.bias.zero_()

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weights()
        return F.conv2d(input, weight, bias, padding=self.padding)

    def weights(self) -> tuple[Tensor, Tensor]:
        """The masked weights and the biases, in float32 or better."""
        assert self.bias is not None
        weight, bias = distributions.promote(self.weight * self.mask, self.bias)
        return weight, bias


class _Block(nn.Module):
    """A residual block."""

    def __init__(self, hidden: int, narrow: int, channels: int) -> None:
        super().__init__()
        self.down = _Masked(hidden, narrow, 1, channels, own=True)
        self.middle = _Masked(narrow, narrow, 3, channels, own=True)
        self.up = _Masked(narrow, hidden, 1, channels, own=True)

    def forward(self, h: Tensor) -> Tensor:
        change: Tensor = self.up(F.relu(self.middle(F.relu(self.down(F.relu(h))))))
        return h + change


class _Net(nn.Module):
    """From an image (N, C, H, W) and what θ adds to parameters (N, C·numbers, H, W) of the distribution of each number."""

    def __init__(self, channels: int, width: int, depth: int, kernel: int, numbers: int) -> None:
        super().__init__()
        hidden = channels * -(-width // channels)
        narrow = channels * -(-hidden // (2 * channels))
        self.first = _Masked(channels, hidden, kernel, channels, own=False)
        self.theta = nn.Conv2d(width, hidden, 1, bias=False)
        blocks = [_Block(hidden, narrow, channels) for _ in range(depth)]
        with torch.no_grad():
            for block in blocks:  # all of them together add as much as one would
                block.up.weight.mul_(depth**-0.5)
        self.blocks = nn.Sequential(*blocks)
        self.last = _Masked(hidden, channels * numbers, 1, channels, own=True)

    def told(self, theta: Tensor) -> Tensor:
        """What θ adds at every pixel, (N, hidden, H, W)."""
        (weight,) = distributions.promote(self.theta.weight)
        return F.conv2d(theta, weight)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.blocks(self.first(2 * x - 1) + told)
        last: Tensor = self.last(F.relu(h))
        return last


class _PixelCNN(Distribution):
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, net: _Net, head: Head, theta: Tensor) -> None:
        self.net, self.head, self.theta = net, head, theta
        super().__init__(theta.shape[:1], torch.Size((net.first.in_channels, *theta.shape[2:])), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        with distributions.full_precision(self.theta):
            told = self.net.told(self.theta)
            drawn = value.shape[:-4]
            told = told.expand(*drawn, *told.shape).flatten(0, -4)
            x = value.flatten(0, -4).to(told.dtype)
            return self.head(self.net(x, told)).log_prob(x).reshape(value.shape[:-3])

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        with torch.no_grad(), distributions.full_precision(self.theta):
            told = self.net.told(self.theta)
            told = told.expand(*sample_shape, *told.shape).flatten(0, -4)
            return _Drawing(self.net, self.head, told).image().reshape(*sample_shape, *self.batch_shape, *self.event_shape)


class _Drawing:
    """Images drawn number by number. What each convolution takes is kept, so that nothing is computed for a pixel anew."""

    def __init__(self, net: _Net, head: Head, told: Tensor) -> None:
        self.net, self.head, self.told = net, head, told
        self.x = _Canvas(net.first, told)
        blocks: Any = net.blocks
        self.blocks = [(_matrix(block.down), _Canvas(block.middle, told), _matrix(block.up)) for block in blocks]
        self.last = _matrix(net.last)

    def image(self) -> Tensor:
        """(N, C, H, W)."""
        channels = self.net.first.in_channels
        n, _, height, width = self.told.shape
        image = self.told.new_zeros(n, channels, height, width)
        for row in range(height):
            for column in range(width):
                for channel in range(channels):
                    parameters = self._parameters(row, column).unflatten(1, (channels, -1))[:, channel]
                    drawn = self.head(parameters[..., None, None]).sample()[:, 0, 0, 0]
                    image[:, channel, row, column] = drawn
                    self.x.put(2 * image[:, :, row, column] - 1, row, column)
        return image

    def _parameters(self, row: int, column: int) -> Tensor:
        """(N, C·numbers) at one pixel, given the numbers before; for later channels they are not yet right."""
        h = self.x.seen(row, column) + self.told[:, :, row, column]
        for down, canvas, up in self.blocks:
            canvas.put(F.relu(F.linear(F.relu(h), *down)), row, column)
            h = h + F.linear(F.relu(canvas.seen(row, column)), *up)
        return F.linear(F.relu(h), *self.last)


class _Canvas:
    """What a masked convolution takes, put in pixel by pixel, and what it gives there; zeros beyond the edges."""

    def __init__(self, layer: _Masked, like: Tensor) -> None:
        self.reach = layer.kernel_size[0] // 2
        weight, self.bias = layer.weights()
        self.weight = weight[:, :, : self.reach + 1].flatten(1)
        n, _, height, width = like.shape
        self.held = like.new_zeros(n, layer.in_channels, height + self.reach, width + 2 * self.reach)

    def put(self, value: Tensor, row: int, column: int) -> None:
        self.held[:, :, row + self.reach, column + self.reach] = value

    def seen(self, row: int, column: int) -> Tensor:
        near = self.held[:, :, row : row + self.reach + 1, column : column + 2 * self.reach + 1]
        return F.linear(near.flatten(1), self.weight, self.bias)


def _matrix(layer: _Masked) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weights()
    return weight[:, :, 0, 0], bias
