"""What latents of codes share: one code a position."""

from abc import abstractmethod
from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Draw, Latent, Shape, Site, distributions, join

Positions = Annotated[int, Field(ge=1, le=4096)]
Width = Annotated[int, Field(ge=1, le=4096)]


class Codes(Latent):
    """A linear layer gives every position an encoding e, and every e is replaced by the vector of a code.

    The positions are those of a map h (N, C, H, W), on which the layer is a 1x1 convolution; of other h the layer makes as many
    as it is told. Shapes: encodings and vectors are (N, *positions, width).

    Args:
        in_shape: of h.
        context: its width.
        width: of an encoding.
        positions: how many, where h is no map.
    """

    def __init__(self, in_shape: Shape, context: int, width: int, positions: int) -> None:
        super().__init__()
        self.positions: Shape
        self.head: nn.Module
        if len(in_shape) == 3:
            self.positions = tuple(in_shape[1:])
            self.out_shape = (width, *self.positions)
            self.head = nn.Conv2d(in_shape[0] + context, width, 1)
        else:
            self.positions = (positions,)
            self.out_shape = (positions * width,)
            self.head = nn.Linear(prod(in_shape) + context, positions * width)

    @abstractmethod
    def nearest(self, e: Tensor) -> Tensor:
        """The codes of encodings, (N, *root.shape)."""

    @abstractmethod
    def vectors(self, codes: Tensor) -> Tensor:
        """The vectors of codes (N, *root.shape)."""

    @abstractmethod
    def quantized(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Codes, their vectors with the gradient of the encodings, and the penalty (N,) if there is one."""

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return distributions.PointMass(self.nearest(self._encodings(h, c)))

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        codes, vectors, penalty = self.quantized(self._encodings(h, c))
        z = self._laid_out(vectors)
        site = Site(distributions.PointMass(codes), prior, codes.expand(samples, *codes.shape))
        return Draw(z.expand(samples, *z.shape), (site,), penalty)

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return self._laid_out(self.vectors(root))

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self._laid_out(self.vectors(self.nearest(self._encodings(h, c))))

    def _encodings(self, h: Tensor, c: Tensor) -> Tensor:
        if len(self.positions) == 2:
            e = self.head(join(h, c)).movedim(1, -1)
        else:
            e = self.head(join(h.flatten(1), c)).unflatten(1, (*self.positions, -1))
        return distributions.promote(e)[0]

    def _laid_out(self, vectors: Tensor) -> Tensor:
        """z (N, *out_shape)."""
        return vectors.movedim(-1, 1) if len(self.positions) == 2 else vectors.flatten(1)


def straight_through(vectors: Tensor, e: Tensor) -> Tensor:
    """The vectors, whose gradient e gets."""
    return vectors.detach() + (e - e.detach())
