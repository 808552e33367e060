"""Vector quantisation, in one step or in several."""

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit import Shape, Space
from vaekit_vq.codebook import Codebook, Learning, Share, Size, Weight
from vaekit_vq.codes import Codes, Positions, Width, straight_through


class VQ(Codes):
    r"""$q(k \mid x, c) = 1$ for $k = \arg\min_j \|e - c_j\|$ and 0 for all others, at each position; z is made of the $c_k$.

    h (N, C, H, W) and c (N, K) give codes (N, H, W) and z (S, N, width, H, W), by a 1x1 convolution to the encodings e; any
    other h (N, *in_shape) gives codes (N, positions) and z (S, N, positions * width), by a dense layer. Nothing is random:
    all S draws are one, and the code is z itself. The root is the codes. The decoder's gradient goes to e as it is (straight
    through).

    The penalty, which training adds to the loss, is $\beta \|e - \operatorname{sg}(c_k)\|^2$ summed over positions and
    dimensions, of each example (N,); with a codebook that learns by `gradient` also $\|\operatorname{sg}(e) - c_k\|^2$. By
    `ema` each $c_k$ is the moving mean of the encodings nearest to it. Both learn in training only, from the encodings of all
    ranks, in every backward pass: a batch that is taken in several pieces moves an `ema` as often.

    In the first step of training the codebook becomes encodings of the batch, at random; and later so does every code that
    has come out of use. Under FSDP neither is done to a codebook that learns by `gradient`.

    `perplexity()` tells of collapse: how many codes were in use in the last steps of training, from 1 to `codes`, and NaN
    before the first; it is saved with the model, as `vaekit.load(RUN).latent.perplexity()`.

    Args:
        codes: vectors in the codebook.
        width: of each vector, and channels of z.
        positions: codes an example, where h is no map.
        commitment: weight β of the penalty that draws encodings to their codes.
        codebook: learns by `ema` or by `gradient`.
        decay: of the moving means, and of the counts of use.
        revive: a code used less often than this share of what codes are used on the average is replaced; 0 for never.

    References:
        Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu; 2017), https://arxiv.org/abs/1711.00937,
        eq. 1 to 3, and appendix A.1 for moving means.
        Jukebox (Dhariwal et al.; 2020), https://arxiv.org/abs/2005.00341, section 3.1: random restarts.
    """

    name = "vq"
    exchanges = True

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        codes: Size = 512,
        width: Width = 16,
        positions: Positions = 8,
        commitment: Weight = 0.25,
        codebook: Learning = "ema",
        decay: Share = 0.99,
        revive: Share = 0.05,
    ) -> None:
        super().__init__(in_shape, context, width, positions)
        self.book = Codebook(codes, width, commitment, codebook, decay, revive)
        self.root = Space(self.positions, "codes", codes)

    def nearest(self, e: Tensor) -> Tensor:
        return self.book.nearest(e)

    def vectors(self, codes: Tensor) -> Tensor:
        return self.book.of(codes)

    def quantized(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, vectors, penalty = self.book(e)
        return codes, straight_through(vectors, e), penalty.flatten(1).sum(1)

    def perplexity(self) -> Tensor:
        """How many codes were in use in the last steps of training: a number from 1, collapse, to `codes`."""
        return self.book.perplexity()


class ResidualVQ(Codes):
    r"""Codebooks in sequence, each for what those before it left: $k_i = \arg\min_j \|r_i - c^i_j\|$, with $r_1 = e$ and
    $r_{i+1} = r_i - c^i_{k_i}$, at each position; z is made of the sums $\sum_i c^i_{k_i}$.

    h (N, C, H, W) and c (N, K) give codes (N, quantizers, H, W) and z (S, N, width, H, W); any other h (N, *in_shape) gives
    codes (N, quantizers, positions) and z (S, N, positions * width). Quantizers with `codes` vectors each tell as many vectors
    apart as `codes` to their power, from coarse to fine.

    All else is as in `vq`, each codebook learning from its own residuals: what draws them, the penalty (N,), is summed over
    quantizers too. `perplexity()` gives that of each.

    Args:
        quantizers: codebooks in sequence.
        codes: vectors in each codebook.
        width: of each vector, and channels of z.
        positions: of an example, where h is no map.
        commitment: weight β of the penalty that draws residuals to their codes.
        codebook: learns by `ema` or by `gradient`.
        decay: of the moving means, and of the counts of use.
        revive: a code used less often than this share of what codes are used on the average is replaced; 0 for never.

    References:
        SoundStream (Zeghidour et al.; 2021), https://arxiv.org/abs/2107.03312, algorithm 1.
        Autoregressive Image Generation using Residual Quantization (Lee et al.; 2022), https://arxiv.org/abs/2203.01941,
        section 3.1.
    """

    name = "residual-vq"
    exchanges = True

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        quantizers: Annotated[int, Field(ge=1, le=64)] = 4,
        codes: Size = 64,
        width: Width = 16,
        positions: Positions = 8,
        commitment: Weight = 0.25,
        codebook: Learning = "ema",
        decay: Share = 0.99,
        revive: Share = 0.05,
    ) -> None:
        super().__init__(in_shape, context, width, positions)
        books = [Codebook(codes, width, commitment, codebook, decay, revive) for _ in range(quantizers)]
        self.books: Any = nn.ModuleList(books)
        self.root = Space((quantizers, *self.positions), "codes", codes)

    def nearest(self, e: Tensor) -> Tensor:
        codes = []
        for book in self.books:
            codes.append(book.nearest(e))
            e = e - book.of(codes[-1])
        return torch.stack(codes, 1)

    def vectors(self, codes: Tensor) -> Tensor:
        return _sum([book.of(own) for book, own in zip(self.books, codes.unbind(1), strict=True)])

    def quantized(self, e: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        codes, vectors, penalties, rest = [], [], [], e
        for book in self.books:
            k, vector, penalty = book(rest)
            codes.append(k)
            vectors.append(vector)
            penalties.append(penalty)
            rest = rest - vector.detach()
        return torch.stack(codes, 1), straight_through(_sum(vectors), e), _sum(penalties).flatten(1).sum(1)

    def perplexity(self) -> Tensor:
        """How many codes of each quantizer were in use in the last steps of training, (quantizers,)."""
        return torch.stack([book.perplexity() for book in self.books])


def _sum(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors).sum(0)
