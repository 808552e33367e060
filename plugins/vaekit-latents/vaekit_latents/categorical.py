"""The categorical latent, relaxed."""

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Shape, Space, distributions, join
from vaekit_latents.one_layer import OneLayer
from vaekit_latents.options import Classes, Temperature, Variables
from vaekit_latents.relaxed import Relaxed


class Categorical(OneLayer):
    r"""Categorical variables, relaxed so that draws have a gradient: $z = \operatorname{softmax}((\log \pi(h, c) + g) / \tau)$
    for each, with Gumbel noise g.

    h (N, *in_shape) and c (N, C) give z (S, N, variables · classes). The root lives on the simplex, one row of classes for each
    variable; prior `relaxed-categorical` fits it. Its posterior has the density of the relaxed variable

    $$q(z \mid x, c) = \Gamma(K)\, \tau^{K-1} \prod_k \frac{\pi_k z_k^{-\tau - 1}}{\sum_j \pi_j z_j^{-\tau}},$$

    so that the ELBO and importance-weighted bounds hold for the relaxed model, the one that is trained and sampled from. The KL
    has no closed form. The lower the temperature, the nearer draws are to one category each, and the noisier are gradients; up
    to 1 / (classes - 1) the density has no peak but towards the corners. A coordinate of a draw below $10^{-34}$, near the
    least that float32 holds, is taken for 0 and scored by the probability of that, so that the bound holds however cold it is;
    the gradient passes over the step. Of many classes a cold draw shows the decoder little but the largest, while the KL counts
    what all coordinates tell of x: few classes and a temperature of about 1 are the quickest to learn.

    With `hard` the decoder sees the largest category of each draw as a one-hot vector, and gradients pass by that step as if it
    were none. The choice belongs to the decoder then, and the bound is one still; only its gradient is biased.

    The code is the probabilities π, or the one-hot vector of the largest with `hard`: what the decoder sees on the average of
    the true categories, or what it only ever sees.

    Args:
        variables: categorical variables.
        classes: of each.
        temperature: τ, of the posterior alone; the prior has its own, best the same.
        hard: whether the decoder sees one-hot vectors.

    References:
        Categorical Reparameterization with Gumbel-Softmax (Jang, Gu, Poole; 2016), https://arxiv.org/abs/1611.01144, eq. 2 and
        3; section 2.2 for `hard`.
        The Concrete Distribution (Maddison, Mnih, Teh; 2016), https://arxiv.org/abs/1611.00712, definition 1, proposition 1.
    """

    name = "categorical"

    def __init__(
        self,
        in_shape: Shape,
        context: int,
        *,
        variables: Variables = 32,
        classes: Classes = 4,
        temperature: Temperature = 1.0,
        hard: bool = False,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(prod(in_shape) + context, variables * classes)
        self.temperature = temperature
        self.hard = hard
        self.root = Space((variables, classes), "simplex")
        self.out_shape = (variables * classes,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return Relaxed(self._logits(h, c), self.temperature)

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        return self.seen(self._logits(h, c).softmax(-1))

    def _logits(self, h: Tensor, c: Tensor) -> Tensor:
        (logits,) = distributions.promote(self.head(join(h.flatten(1), c)))
        return logits.reshape(-1, *self.root.shape)

    def seen(self, root: Tensor) -> Tensor:
        """What the decoder sees of roots (*, variables, classes)."""
        if self.hard:
            largest = F.one_hot(root.argmax(-1), root.shape[-1]).to(root.dtype)
            root = root + (largest - root).detach()
        return root.flatten(-2)
