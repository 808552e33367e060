"""What the losses share: discriminators, what those minimise, and whose the parameters are."""

from itertools import pairwise
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from vaekit import VAE, Activation, Shape, Terms, Widths, dense, distributions


class Critic(nn.Module):
    """Tells two kinds of data apart: points (N, *shape) to a logit (N,), positive for those of the first kind.

    Args:
        body: gives features (N, *F).
        width: how many features that is.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, 1)

    def features(self, points: Tensor) -> Tensor:
        """What it sees in the points, (N, width)."""
        h: Tensor = self.body(points)
        return h.flatten(1)

    def judge(self, features: Tensor) -> Tensor:
        """The logits (N,) of points with such features."""
        (logits,) = distributions.promote(self.head(features)[:, 0])
        return logits

    def forward(self, points: Tensor) -> Tensor:
        return self.judge(self.features(points))


def dense_critic(dimensions: int, hidden: Widths, activation: Activation) -> Critic:
    """One of dense layers, for points of so many numbers in all."""
    widths = (dimensions, *hidden)
    return Critic(nn.Sequential(nn.Flatten(), *dense(widths, activation)), widths[-1])


def conv_critic(image: Shape, width: int, depth: int) -> Critic:
    """One for images (C, H, W) of any size: convolutions of stride 2, each with twice as many channels as the one before.

    Without batch normalisation, by which images of one kind would tell on each other.
    """
    channels = (image[0], *(width * 2**i for i in range(depth)))
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
    sides = (-(-side // 2**depth) for side in image[1:])
    return Critic(nn.Sequential(*layers), channels[-1] * prod(sides))


def surprise(first: Tensor, second: Tensor) -> Terms:
    """What a discriminator minimises, in nats: its mean surprise at points of both kinds by their logits; log 2 by guessing."""
    loss = 0.5 * (F.softplus(-first).mean() + F.softplus(second).mean())
    return Terms(loss, {"cross_entropy": loss.detach()})


def divided(model: VAE, *modules: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of some modules of a model, and those of all the rest of it, as far as they want gradients."""
    theirs = {id(p) for module in modules for p in module.parameters()}
    wanting = [p for p in model.parameters() if p.requires_grad]
    return [p for p in wanting if id(p) in theirs], [p for p in wanting if id(p) not in theirs]
