"""A prior over codes, each by itself."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions

Sizes = torch.Size | list[int] | tuple[int, ...]


class IndependentCodes(Prior):
    r"""$p(k) = \prod_i \pi_{i, k_i}$: the code at each position i by itself, whatever the context.

    c (N, C) gives a distribution of batch (N,) and event root.shape. For codes chosen without chance, as those of `vq` and
    `fsq`, the KL is $-\log p(k)$ exactly: $D \log K$ for D uniform codes of K.

    Args:
        probabilities: `learned`, a table of K a position that begins as uniform; or `uniform`.

    Raises:
        ShapeError: where the latent is not one of codes.

    References:
        Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu; 2017), https://arxiv.org/abs/1711.00937,
        section 3.1: uniform.
    """

    name = "codes"
    logits: Tensor

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        probabilities: Literal["learned", "uniform"] = "learned",
    ) -> None:
        super().__init__()
        logits = torch.zeros(root.dimensions, check_codes(root))
        if probabilities == "learned":
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        (logits,) = distributions.promote(self.logits)
        return _Independent(logits.log_softmax(1), torch.Size((len(c), *self.out_shape)))


def check_codes(root: Space) -> int:
    """How many codes there are at a position.

    Raises:
        ShapeError: where the space is not one of codes.
    """
    if root.support != "codes" or root.size is None:
        raise ShapeError(
            f"it is a prior over codes; this latent is on a space of {root.support}: choose prior={root.usual_prior}, "
            "or a latent of codes, such as vq"
        )
    return root.size


class _Independent(Distribution):
    """Of one table for all examples.

    Args:
        log_p: (D, K).
        shape: of the batch and the event, (N, *event), of D numbers in all.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, log_p: Tensor, shape: torch.Size) -> None:
        self.log_p = log_p
        super().__init__(shape[:1], shape[1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        codes = value.flatten(value.dim() - len(self.event_shape))
        return self.log_p[torch.arange(len(self.log_p), device=codes.device), codes].sum(-1)

    def sample(self, sample_shape: Sizes = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            drawn = torch.multinomial(self.log_p.exp(), shape.numel() // len(self.log_p), replacement=True)
        return drawn.T.reshape(shape)
