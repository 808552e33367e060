"""What the encoders share: an image becomes a map, and the context comes in before that or after it."""

from typing import Literal

from torch import Tensor, nn

from vaekit import Encoder, Shape, join
from vaekit_conv.layers import Plan, check_image, sizes

Joined = Literal["input", "features"]


class MapEncoder(Encoder):
    """An encoder whose `layers` make a map of an image."""

    layers: nn.Module
    at_input: bool

    def wire(self, in_shape: Shape, context: int, planned: Plan, where: Joined) -> int:
        """Say where the context comes in and what comes out; gives the channels that the first layer takes.

        Raises:
            ShapeError: where what comes in is no image.
        """
        check_image(in_shape)
        self.at_input = where == "input"
        height, width = sizes(in_shape, planned)[-1]
        self.out_shape = (planned[-1][0] + (0 if self.at_input else context), height, width)
        return in_shape[0] + (context if self.at_input else 0)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        if self.at_input:
            h: Tensor = self.layers(join(x, c))
            return h
        return join(self.layers(x), c)
