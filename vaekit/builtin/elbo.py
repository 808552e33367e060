"""The evidence lower bound."""

from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from vaekit import VAE, ConfigError, Loss, Shape, Space, Terms, Trace

Nats = Annotated[float, Field(ge=0, le=1e6)]
Steps = Annotated[int, Field(ge=0, le=10**12)]


class ELBO(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) + \beta_t \, \mathrm{KL}(q(z \mid x, c) \,\|\, p(z \mid c))$, mean over the batch.

    x (N, *data_shape) and c (N, C) give a scalar. Its parts are, in nats per example: `reconstruction`,
    $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be estimated from the draws); `penalty`, where the latent
    has one; and `nelbo`, the negative ELBO at β = 1 whatever β is (`profile` where the likelihood's training score is of no
    one density, so that the sum is no bound).

    Three things make it easier to train, and change the loss, never the parts. In training $\beta_t$ rises from 0 to β in the
    first `warmup` optimizer steps, and again in each further `period` where there is one. With `free_bits` λ the KL is there
    $\sum_d \max(\lambda, \mathrm{KL}_d)$, of the mean over the batch in each dimension: what a dimension costs up to λ is free,
    so that none is given up (of the whole KL of a layer, where it is no sum over dimensions). With `capacity` C the KL is
    $|\mathrm{KL} - C_t|$, where $C_t$ rises from 0 to C in the first `capacity_steps` of training, and is C in validation.
    Steps are counted in a buffer, so that a run that goes on does so where it stood.

    Args:
        beta: weight of the KL.
        warmup: optimizer steps in which the weight of the KL rises from 0 to β; 0 for none.
        period: optimizer steps after which the warm-up begins again; 0 for never.
        free_bits: nats of KL that each dimension has for nothing.
        capacity: nats that the KL is drawn to instead of 0.
        capacity_steps: optimizer steps in which that rises from 0; 0 for none.
        samples: draws of z an example.
        normalize: `nats` for sums over dimensions, the true bound; `dims` divides the reconstruction by the number of data
            dimensions D and the KL by that of latents Z. This scales the loss only, never the parts: up to scale and a
            constant, a squared error with `dims` is the ELBO of a gaussian likelihood of variance βD / 2Z.

    Raises:
        ConfigError: where a warm-up takes longer than a period, both free bits and a capacity are asked for, or an option is
            of another that is not given.

    References:
        Auto-Encoding Variational Bayes (Kingma, Welling; 2013), https://arxiv.org/abs/1312.6114, eq. 3.
        beta-VAE (Higgins et al.; 2017), https://openreview.net/forum?id=Sy2fzU9gl, eq. 4.
        Generating Sentences from a Continuous Space (Bowman et al.; 2015), https://arxiv.org/abs/1511.06349, section 3.1:
        warm-up.
        Cyclical Annealing Schedule (Fu et al.; 2019), https://arxiv.org/abs/1903.10145, eq. 6 and 7: periods.
        Improving Variational Inference with Inverse Autoregressive Flow (Kingma et al.; 2016),
        https://arxiv.org/abs/1606.04934, eq. 15: free bits.
        Understanding disentangling in β-VAE (Burgess et al.; 2018), https://arxiv.org/abs/1804.03599, eq. 8: capacity.
    """

    name = "elbo"
    steps: Tensor

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0,
        warmup: Steps = 0,
        period: Steps = 0,
        free_bits: Nats = 0.0,
        capacity: Nats = 0.0,
        capacity_steps: Steps = 0,
        samples: Annotated[int, Field(ge=1, le=10_000)] = 1,
        normalize: Literal["nats", "dims"] = "nats",
    ) -> None:
        super().__init__()
        if period and warmup > period:
            raise ConfigError(f"loss 'elbo': warmup is {warmup} steps, more than a period of {period}")
        if period and not warmup:
            raise ConfigError(f"loss 'elbo': a period of {period} steps repeats a warm-up, and there is none: give warmup")
        if capacity_steps and not capacity:
            raise ConfigError(f"loss 'elbo': in {capacity_steps} steps a capacity rises, and there is none: give capacity")
        if free_bits and capacity:
            raise ConfigError("loss 'elbo': free_bits and capacity both say what KL there should be: choose one")
        self.beta, self.warmup, self.period = beta, warmup, period
        self.free_bits, self.capacity, self.capacity_steps = free_bits, capacity, capacity_steps
        self.samples = samples
        by_dims = normalize == "dims"
        self.data_dims = prod(data_shape) if by_dims else 1
        self.latent_dims = root.dimensions if by_dims else 1
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.out_shape = ()

    def stepped(self) -> None:
        if self.warmup or self.capacity_steps:
            self.steps += 1

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c, self.samples)
        log_px, kl = trace.log_px().mean(), trace.kl().mean()
        weighted = self._weight() / self.latent_dims * self._shaped(trace, kl)
        loss = torch.sub(weighted, log_px, alpha=1 / self.data_dims)
        return Terms.of(trace, loss, model.in_nats(trace, log_px, kl))

    def _weight(self) -> Tensor | float:
        if not self.warmup or not self.training:
            return self.beta
        at = self.steps % self.period if self.period else self.steps
        return self.beta * (at / self.warmup).clamp(max=1)

    def _shaped(self, trace: Trace, kl: Tensor) -> Tensor:
        """The KL as it counts."""
        if self.capacity:
            rising = self.training and self.capacity_steps
            share = (self.steps / self.capacity_steps).clamp(max=1) if rising else 1.0
            return (kl - self.capacity * share).abs()
        if self.free_bits and self.training:
            return torch.stack([self._beyond_free(site.kl_dims(), site.kl()) for site in trace.draw.sites]).sum()
        return kl

    def _beyond_free(self, dims: Tensor | None, whole: Tensor) -> Tensor:
        return (whole if dims is None else dims).mean(0).clamp(min=self.free_bits).sum()
