"""A recurrent encoder."""

from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from vaekit import Encoder, Shape, ShapeError, Widths, join
from vaekit import dense as layers_of


class LSTMEncoder(Encoder):
    r"""The last hidden state of an LSTM that reads x step by step, then dense layers: $h = f(W \cdots f(W_1 s_T))$.

    An image (C, H, W) is read as H rows of C·W features from the top; a sequence (T, F) as it is. The context is joined to
    every step. x (N, *in_shape) and c (N, C) give h (N, dense[-1]), or the state itself without dense layers: (N, hidden), or
    (N, 2·hidden) when bidirectional. torch's recurrent modules break the graph: it does not compile in full.

    Args:
        hidden: units of each layer and direction.
        layers: recurrent layers, one upon the other.
        bidirectional: whether to read backwards too.
        cell: `lstm` or `gru`.
        dense: width of each dense layer with relu after the last state.

    References:
        Long Short-Term Memory (Hochreiter, Schmidhuber; 1997), https://doi.org/10.1162/neco.1997.9.8.1735.
        For `gru`: Learning Phrase Representations using RNN Encoder-Decoder (Cho et al.; 2014),
        https://arxiv.org/abs/1406.1078.
    """

    name = "lstm"
    compiles = False

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        hidden: Annotated[int, Field(ge=1, le=16384)] = 128,
        layers: Annotated[int, Field(ge=1, le=16)] = 1,
        bidirectional: bool = False,
        cell: Literal["lstm", "gru"] = "lstm",
        dense: Widths = (256,),
    ) -> None:
        super().__init__()
        if len(in_shape) not in (2, 3):
            raise ShapeError(f"it reads images (channels, height, width) or sequences (steps, features), not {in_shape}")
        self.rows = len(in_shape) == 3
        features = in_shape[0] * in_shape[2] if self.rows else in_shape[1]
        recurrent = nn.LSTM if cell == "lstm" else nn.GRU
        self.recurrent = recurrent(features + context, hidden, layers, batch_first=True, bidirectional=bidirectional)
        widths = (hidden * (1 + bidirectional), *dense)
        self.dense = layers_of(widths)
        self.directions = 1 + bidirectional
        self.out_shape = (widths[-1],)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        steps = rearrange(x, "n c h w -> n h (c w)") if self.rows else x
        _, state = self.recurrent(join(steps, c))
        last = state[0] if isinstance(state, tuple) else state  # (layers·directions, N, hidden); an LSTM has a cell state too
        h: Tensor = self.dense(torch.cat(list(last[-self.directions :]), dim=1))
        return h
