"""Feed-forward encoder and decoder for data of any shape."""

from itertools import pairwise
from math import prod
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from vaekit import Decoder, Encoder, Shape, join

Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(max_length=16, strict=False)]
Activation = Literal["relu", "leaky-relu", "gelu", "silu", "tanh"]

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLPEncoder(Encoder):
    r"""Dense layers over the flattened data, joined by the context: $h = f(W_L \cdots f(W_1 [x, c]))$.

    x (N, *in_shape) and c (N, C) give h (N, hidden[-1]). Without hidden layers h is [x, c] itself.

    Args:
        hidden: width of each layer.
        activation: after each layer.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, appendix C.
    """

    name = "mlp"

    def __init__(self, in_shape: Shape, context: int, *, hidden: Widths = (512, 256), activation: Activation = "relu") -> None:
        super().__init__()
        widths = (prod(in_shape) + context, *hidden)
        self.layers = dense(widths, activation)
        self.out_shape = (widths[-1],)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h: Tensor = self.layers(join(x.flatten(1), c))
        return h


class MLPDecoder(Decoder):
    r"""Dense layers over the flattened latent, joined by the context: $\theta = W_{L+1} f(W_L \cdots f(W_1 [z, c]))$.

    z (N, *in_shape) and c (N, C) give θ (N, *out_shape).

    Args:
        hidden: width of each hidden layer.
        activation: after each hidden layer.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, appendix C.
    """

    name = "mlp"

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        hidden: Widths = (256, 512),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        widths = (prod(in_shape) + context, *hidden)
        self.layers = dense(widths, activation)
        self.head = nn.Linear(widths[-1], prod(out_shape))
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        theta: Tensor = self.head(self.layers(join(z.flatten(1), c)))
        return theta.reshape(-1, *self.out_shape)


def dense(widths: tuple[int, ...], activation: str) -> nn.Sequential:
    """Linear layers of the given widths, each with its activation."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
