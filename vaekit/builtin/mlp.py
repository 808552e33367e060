"""Feed-forward encoder and decoder for data of any shape."""

from math import prod

from torch import Tensor, nn

from vaekit import Activation, Decoder, Encoder, Shape, Widths, dense, join


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
