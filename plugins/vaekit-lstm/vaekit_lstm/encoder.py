"""A recurrent encoder."""

from typing import Annotated, Literal

import torch
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from vaekit import Encoder, Shape, ShapeError, Widths, join, mask
from vaekit import dense as layers_of
from vaekit_lstm.steps import backwards, last, lengths

Hidden = Annotated[int, Field(ge=1, le=16384)]
Layers = Annotated[int, Field(ge=1, le=16)]
Cell = Literal["lstm", "gru"]


class LSTMEncoder(Encoder):
    r"""The last hidden state of an LSTM that reads x step by step, then dense layers: $h = f(W \cdots f(W_1 s_T))$.

    An image (C, H, W) is read as H rows of C·W features from the top; a sequence (T, F) as it is. The context is joined to
    every step. x (N, *in_shape) and c (N, C) give h (N, dense[-1]), or the state itself without dense layers: (N, hidden), or
    (N, 2·hidden) when bidirectional. torch's recurrent modules break the graph: it does not compile in full.

    Steps of NaN at the end of a sequence are padding: T is the last step before them in either direction. A single NaN before
    that is read as zero, and a sequence of padding alone as one step of zeros; training refuses both in data that are in
    memory.

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
    takes_padding = True

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        hidden: Hidden = 128,
        layers: Layers = 1,
        bidirectional: bool = False,
        cell: Cell = "lstm",
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
        h: Tensor = self.dense(self._image(x, c) if self.rows else self._sequence(x, c))
        return h

    def _image(self, x: Tensor, c: Tensor) -> Tensor:
        _, state = self.recurrent(join(rearrange(x, "n c h w -> n h (c w)"), c))
        top = state[0] if isinstance(state, tuple) else state  # (layers·directions, N, hidden); an LSTM has a cell state too
        return torch.cat(list(top[-self.directions :]), dim=1)

    def _sequence(self, x: Tensor, c: Tensor) -> Tensor:
        there = mask(x)
        steps, n = join(x.masked_fill(~there, 0), c), lengths(there)
        if self.directions == 1:
            return last(self.recurrent(steps)[0], n)
        for ahead, back in zip(self.recurrent.all_weights[::2], self.recurrent.all_weights[1::2], strict=True):
            forth, reverse = self._one_way(steps, ahead), self._one_way(backwards(steps, n), back)
            steps = torch.cat([forth, backwards(reverse, n)], dim=2)
        return torch.cat([last(forth, n), last(reverse, n)], dim=1)

    def _one_way(self, steps: Tensor, weights: list[nn.Parameter]) -> Tensor:
        """The states of one layer in one direction, (N, T, hidden)."""
        flat = torch.cat([weight.flatten() for weight in weights])  # cuDNN wants them in one piece, in this order
        pieces = flat.split([weight.numel() for weight in weights])
        one_piece = [piece.view_as(weight) for piece, weight in zip(pieces, weights, strict=True)]
        start = steps.new_zeros(1, steps.shape[0], self.recurrent.hidden_size)
        settings = (one_piece, True, 1, 0.0, self.training, False, True)
        if isinstance(self.recurrent, nn.LSTM):
            return torch.lstm(steps, (start, start), *settings)[0]
        return torch.gru(steps, start, *settings)[0]
