"""One layer of a transformer."""

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerLayer(nn.Module):
    r"""Self-attention and a perceptron, each after normalisation: $t' = t + A(\bar t)$, $t'' = t' + M(\bar t')$.

    Args:
        width: numbers of each token.
        heads: of attention; each has an equal share of the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.together = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        """Tokens (N, T, width) again; `seen`, (N, T), says which may be looked at, all where it is None."""
        tokens = tokens + self._attention(self.before_attention(tokens), seen)
        after: Tensor = tokens + self.perceptron(self.before_perceptron(tokens))
        return after

    def _attention(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        split = self.queries_keys_values(tokens).unflatten(2, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (N, heads, T, width / heads)
        where = None if seen is None else seen[:, None, None, :]
        looked = F.scaled_dot_product_attention(queries, keys, values, where)
        gathered: Tensor = self.together(looked.transpose(1, 2).flatten(2))
        return gathered
