"""An autoregressive prior over codes."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit import ConfigError, Posterior, Prior, Shape, Space, distributions
from vaekit_vq.independent import Sizes, check_codes

Past = tuple[Tensor, Tensor]
"""The keys and values of the positions so far, each (N, heads, positions, width / heads)."""


class Transformer(Prior):
    r"""$p(k \mid c) = \prod_i p(k_i \mid k_1, \dots, k_{i-1}, c)$ by a causal transformer over the codes in a row.

    c (N, C) gives a distribution of batch (N,) and event root.shape. The order is that of the root: rows of a map from the top,
    each from the left; of `residual-vq` first all of the first quantizer, so that coarse comes before fine. What comes before
    the first code is learned, and a linear function of c.

    `log_prob` takes one pass for all positions; drawing goes from one to the next and keeps keys and values. It learns beside
    the rest of the model, or afterwards alone, as in the paper, from a model that has been trained:
    `vaekit refit RUN prior=transformer`.

    Args:
        layers: of attention and a dense network.
        heads: of attention; the width is a multiple of them.
        width: of each position; four times as many units in the dense networks.
        dropout: the share of numbers put to zero, in training only.

    Raises:
        ShapeError: where the latent is not one of codes.
        ConfigError: where the width is no multiple of the heads.

    References:
        Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu; 2017), https://arxiv.org/abs/1711.00937,
        section 3.3: a prior over codes, after the codes.
        Attention Is All You Need (Vaswani et al.; 2017), https://arxiv.org/abs/1706.03762, eq. 1.
        On Layer Normalization in the Transformer Architecture (Xiong et al.; 2020), https://arxiv.org/abs/2002.04745,
        figure 1(b).
    """

    name = "transformer"

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        layers: Annotated[int, Field(ge=1, le=64)] = 2,
        heads: Annotated[int, Field(ge=1, le=64)] = 4,
        width: Annotated[int, Field(ge=1, le=4096)] = 128,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        size = check_codes(root)
        if width % heads:
            raise ConfigError(f"prior 'transformer': width {width} is no multiple of {heads} heads")
        super().__init__()
        self.network = _Network(size, root.dimensions, context, layers, heads, width, dropout)
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        return _Autoregressive(self.network, c, torch.Size(self.out_shape))


class _Autoregressive(Distribution):
    """The distribution of a network over codes, for each c (N, C)."""

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, network: "_Network", c: Tensor, event: torch.Size) -> None:
        self.network, self.c = network, c
        super().__init__(torch.Size((len(c),)), event, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        codes = value.flatten(value.dim() - len(self.event_shape))
        c = self.c.expand(*codes.shape[:-1], -1).flatten(0, -2)
        (logits,) = distributions.promote(self.network(codes.flatten(0, -2), c))
        of_each = -F.cross_entropy(logits.movedim(-1, 1), codes.flatten(0, -2), reduction="none")
        return of_each.sum(-1).reshape(codes.shape[:-1])

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        c = self.c.expand(*sample_shape, *self.c.shape).flatten(0, -2)
        with torch.no_grad():
            return torch.cat([self.network.drawn(some) for some in c.split(_AT_ONCE)]).reshape(shape)


class _Network(nn.Module):
    """Logits of every code, each from those before it."""

    def __init__(self, size: int, steps: int, context: int, layers: int, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.codes = nn.Embedding(size, width)
        self.places = nn.Parameter(torch.empty(steps, width))
        self.start = nn.Parameter(torch.empty(width))
        self.context = nn.Linear(context, width) if context else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(heads, width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, size)
        for table in (self.codes.weight, self.places, self.start):
            nn.init.normal_(table, std=0.02)

    def forward(self, codes: Tensor, c: Tensor) -> Tensor:
        """Logits (N, steps, size) of codes (N, steps)."""
        x = torch.cat([self._started(c), self.codes(codes[:, :-1])], 1)
        return self._logits(x + self.places, [None] * len(self.blocks))[0]

    def drawn(self, c: Tensor) -> Tensor:
        """Codes (N, steps), one after the other."""
        x, codes = self._started(c), []
        past: Sequence[Past | None] = [None] * len(self.blocks)
        for place in self.places:
            logits, past = self._logits(x + place, past)
            p = distributions.promote(logits[:, 0])[0].softmax(-1)
            codes.append(torch.multinomial(p, 1))
            x = self.codes(codes[-1])
        return torch.cat(codes, 1)

    def _started(self, c: Tensor) -> Tensor:
        """What stands before the first code, (N, 1, width)."""
        start = self.start.expand(len(c), -1) if self.context is None else self.start + self.context(c)
        return start[:, None]

    def _logits(self, x: Tensor, past: Sequence[Past | None]) -> tuple[Tensor, list[Past]]:
        x = self.dropout(x)
        present = []
        for block, before in zip(self.blocks, past, strict=True):
            x, now = block(x, before)
            present.append(now)
        return self.head(self.norm(x)), present


class _Block(nn.Module):
    """Attention to what came before, and a dense network, each added to what it is given."""

    def __init__(self, heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.before_attention, self.before_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projections, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """All positions at once where there is no past, else the next one."""
        q, k, v = self.projections(self.before_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.attended(attended))
        return x + self.dropout(self.dense(self.before_dense(x))), (k, v)


_AT_ONCE = 1024  # examples drawn, whose keys and values are kept meanwhile
