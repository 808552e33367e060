"""A codebook that learns."""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vaekit import distributions

Size = Annotated[int, Field(ge=2, le=65536)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Learning = Literal["ema", "gradient"]
Share = Annotated[float, Field(ge=0, lt=1)]


class Codebook(nn.Module):
    """Vectors c_k, each with a moving count of how many encodings it was the nearest to in a step.

    It learns in training, from encodings that want a gradient: a pass without gradients changes nothing, nor does one whose
    player trains something else.

    Args:
        codes: how many.
        width: of a vector.
        commitment: weight of the penalty that draws encodings to their vectors.
        learning: `ema` or `gradient`.
        decay: of the moving counts and means.
        revive: the share of the mean count below which a vector is replaced.
    """

    vectors: Tensor
    counts: Tensor

    def __init__(self, codes: int, width: int, commitment: float, learning: Learning, decay: float, revive: float) -> None:
        super().__init__()
        self.commitment, self.learning, self.decay, self.revive = commitment, learning, decay, revive
        vectors = torch.randn(codes, width)
        if learning == "gradient":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("counts", torch.zeros(codes))

    def nearest(self, e: Tensor) -> Tensor:
        """The code of the nearest vector to each encoding (..., width)."""
        with torch.no_grad(), distributions.full_precision(e):
            e, vectors = distributions.promote(e, self.vectors)
            flat = e.reshape(-1, e.shape[-1])
            far = torch.addmm(vectors.square().sum(1), flat, vectors.T, alpha=-2)  # but for |e|², the same for all vectors
            codes: Tensor = far.argmin(1)
            return codes.reshape(e.shape[:-1])

    def of(self, codes: Tensor) -> Tensor:
        """The vectors of codes, (*codes.shape, width)."""
        return F.embedding(codes, distributions.promote(self.vectors)[0])

    def forward(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The codes of encodings (..., width), their vectors, and the penalty of each encoding."""
        learns = self.training and e.requires_grad
        replaced = self._replace(e) if learns else None
        codes = self.nearest(e)
        vectors = self.of(codes)
        penalty = self.commitment * (e - vectors.detach()).square().sum(-1)
        if self.learning == "gradient":
            penalty = penalty + (e.detach() - vectors).square().sum(-1)
        if replaced is not None:
            self._move(e, codes, replaced)
        return codes, vectors, penalty

    def perplexity(self) -> Tensor:
        r"""$\exp H$ of how often each code was used of late: as many codes as would give that entropy if used evenly."""
        p = self.counts / self.counts.sum()
        entropy: Tensor = torch.special.entr(p).sum()
        return entropy.exp()

    @torch.no_grad()
    def _replace(self, e: Tensor) -> Tensor:
        """Put encodings of the batch, at random, in the place of vectors out of use, at first of all; says which."""
        flat = e.detach().flatten(0, -2)
        order = torch.randperm(len(flat), device=e.device).repeat(-(-len(self.counts) // len(flat)))[: len(self.counts)]
        chosen = _from_all_ranks(flat[order])
        stale = (self.counts < self.revive * self.counts.mean()) | (self.counts.sum() == 0)
        self.vectors.copy_(torch.where(stale[:, None], chosen.to(self.vectors.dtype), self.vectors))
        return stale

    @torch.no_grad()
    def _move(self, e: Tensor, codes: Tensor, replaced: Tensor) -> None:
        """Count, and move each vector towards the mean of its encodings.

        With N the moving count and m the moving sum, c = m / N is before and after; so m need not be kept.
        """
        flat = e.detach().flatten(0, -2)
        own = torch.cat([flat, flat.new_ones(len(flat), 1)], 1)
        found = _sum(flat.new_zeros(len(self.counts), own.shape[1]).index_add_(0, codes.flatten(), own))
        sums, n = found[:, :-1], found[:, -1]
        before = torch.where(replaced, n.mean(), self.counts)
        after = self.decay * before + (1 - self.decay) * n
        if self.learning == "ema":
            weight = (1 - self.decay) / after.clamp(min=torch.finfo(after.dtype).tiny)
            self.vectors.copy_(self.vectors + weight[:, None] * (sums - n[:, None] * self.vectors))
        self.counts.copy_(after)


def _from_all_ranks(chosen: Tensor) -> Tensor:
    """The same choice on every rank, each giving some of the rows."""
    if not _several():
        return chosen
    ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    mine = torch.arange(len(chosen), device=chosen.device) % ranks == rank
    return _sum(torch.where(mine[:, None], chosen, torch.zeros_like(chosen)))


def _sum(tensor: Tensor) -> Tensor:
    """Over all ranks."""
    if _several():
        torch.distributed.all_reduce(tensor)
    return tensor


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
