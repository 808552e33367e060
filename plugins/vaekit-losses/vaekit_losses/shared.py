"""What the losses share: what they report, their log-weights, and whose the parameters are."""

import math
from functools import reduce

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import VAE, ConfigError, Loss, Trace


def with_bound(model: VAE, trace: Trace, log_px: Tensor, kl: Tensor, **bound: Tensor) -> dict[str, Tensor]:
    """What a loss reports of a pass, from means over the batch, with a bound of its own, where the latent lets it be one."""
    parts = model.in_nats(trace, log_px, kl)
    return {**parts, **bound} if model.latent.has_density else parts


def weighed(trace: Trace) -> tuple[Tensor, Tensor]:
    """log p(x | z) and the log-weights, (S, N). It scores x once only: a profile likelihood counts how often it does."""
    log_px = trace.log_px()
    return log_px, log_px + torch.stack([site.log_ratio() for site in trace.draw.sites]).sum(0)


def negative_bound(log_weight: Tensor) -> Tensor:
    """Minus the log of the mean weight over the first axis, mean over all others."""
    return math.log(log_weight.shape[0]) - log_weight.logsumexp(0).mean()


def in_groups(log_weight: Tensor, groups: int) -> Tensor:
    """Log-weights (M K, N) as (K, M, N): M groups of K draws each."""
    grouped: Tensor = log_weight.unflatten(0, (-1, groups))
    return grouped


def mean_of(loss: Loss, model: VAE, px: Distribution) -> Tensor:
    """The mean of p(x | z, c), which a loss looks at.

    Raises:
        ConfigError: where there is none in closed form, or, in training, it has no gradient.
    """
    who = f"loss {loss.name!r}: it needs a mean, and likelihood {model.likelihood.name!r}"
    try:
        mean: Tensor = px.mean
    except NotImplementedError:
        raise ConfigError(f"{who} has none in closed form: {_OTHERS}") from None
    if torch.is_grad_enabled() and loss.training and not mean.requires_grad:
        raise ConfigError(f"{who} has one without a gradient, so that nothing learns by it: {_OTHERS}")
    return mean


_OTHERS = "choose likelihood=bernoulli or gaussian, or loss=elbo"


def with_layers_below(loss: Tensor, trace: Trace) -> Tensor:
    """The loss and the KL of every layer below the root, mean over the batch."""
    return reduce(torch.add, [site.kl().mean() for site in trace.draw.sites[1:]], loss)


def sides(model: VAE) -> dict[str, list[nn.Parameter]]:
    """Two players: `encoder` has what makes the posterior, `decoder` the rest; one that has nothing to train is left out."""
    inference = [*model.encoder.parameters(), *model.latent.parameters()]
    theirs = {id(p) for p in inference}
    both = {"encoder": inference, "decoder": [p for p in model.parameters() if id(p) not in theirs]}
    wanting = {player: [p for p in own if p.requires_grad] for player, own in both.items()}
    return {player: own for player, own in wanting.items() if own}


def all_but_prior(model: VAE) -> dict[str, list[nn.Parameter]]:
    """One player, who leaves the prior as it is."""
    prior = {id(p) for p in model.prior.parameters()}
    return {"model": [p for p in model.parameters() if p.requires_grad and id(p) not in prior]}
