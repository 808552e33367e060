"""A recurrent decoder."""

from math import prod

import torch
from einops import rearrange
from torch import Tensor, nn

from vaekit import Decoder, Shape, ShapeError, join
from vaekit_lstm.encoder import Cell, Hidden, Layers


class LSTMDecoder(Decoder):
    r"""An LSTM that z starts and feeds, each state of which gives θ of one step: $\theta_t = V s_t$.

    $s_0 = \tanh(W [z, c])$, and $s_t$ is the state after t steps of which each reads $[z, c]$. No step sees x, so that all of x
    is independent given z and c. An image (C, H, W) is written as H rows of C·W features from the top; a sequence (T, F) as
    it is. z (N, *in_shape) and c (N, C) give θ (N, *out_shape). torch's recurrent modules break the graph: it does not compile
    in full.

    Args:
        hidden: units of each layer.
        layers: recurrent layers, one upon the other.
        cell: `lstm` or `gru`.

    References:
        A Neural Representation of Sketch Drawings (Ha, Eck; 2017), https://arxiv.org/abs/1704.03477, section 3.2, whose
        decoder sees the step before as well.
        Long Short-Term Memory (Hochreiter, Schmidhuber; 1997), https://doi.org/10.1162/neco.1997.9.8.1735.
    """

    name = "lstm"
    compiles = False

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context: int,
        *,
        hidden: Hidden = 128,
        layers: Layers = 1,
        cell: Cell = "lstm",
    ) -> None:
        super().__init__()
        if len(out_shape) not in (2, 3):
            raise ShapeError(f"it writes images (channels, height, width) or sequences (steps, features), not {out_shape}")
        self.rows = len(out_shape) == 3
        self.steps, features = (out_shape[1], out_shape[0] * out_shape[2]) if self.rows else out_shape
        fed = prod(in_shape) + context
        recurrent = nn.LSTM if cell == "lstm" else nn.GRU
        self.states = 2 if cell == "lstm" else 1  # an LSTM has a cell state too
        self.start = nn.Linear(fed, self.states * layers * hidden)
        self.recurrent = recurrent(fed, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, features)
        self.out_shape = out_shape

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        fed = join(z.flatten(1), c)
        start = torch.tanh(self.start(fed)).to(fed.dtype)
        states = rearrange(start, "n (s l h) -> s l n h", s=self.states, l=self.recurrent.num_layers)
        each = [state.contiguous() for state in states]
        h, _ = self.recurrent(fed[:, None].expand(-1, self.steps, -1), tuple(each) if self.states == 2 else each[0])
        theta: Tensor = self.head(h)
        return rearrange(theta, "n h (c w) -> n c h w", c=self.out_shape[0]) if self.rows else theta
