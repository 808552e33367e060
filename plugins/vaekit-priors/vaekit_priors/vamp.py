"""The VampPrior."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, distributions, mask
from vaekit_priors.mixture import Mixture


class Vamp(Prior):
    r"""$p(z) = \sum_{k=1}^K w_k \, q(z \mid u_k, v_k)$: the model's own posteriors at learned pseudo-inputs u (K, *data_shape).

    c (N, C) gives a distribution of batch (N,) and event root.shape, the same whatever the context: each pseudo-input has a
    learned pseudo-context of its own, v (K, C). It goes with every latent whose posterior has a density, on any space. The KL
    to it has no closed form, and is estimated from the draws. Every pass takes K more inputs through the encoder, with
    normalisation layers on their running statistics, in training too.

    A run begins with pseudo-inputs that are training examples; without that, or where there are fewer examples than
    components, the rest are uniform on [0, 1]. Pseudo-inputs have full length: of sequences of several lengths, those that
    begin as an example that ends in padding are uniform on [0, 1] in the steps beyond its end.

    Args:
        components: how many pseudo-inputs, K.
        clamp: whether pseudo-inputs are held within [0, 1] by a hard tanh, as in the paper's code, so that they look like
            images; a number beyond that range then gets no gradient any more. Otherwise nothing bounds them.
        weighted: whether the weights w are learned; they are 1 / K otherwise, as in the paper.

    Raises:
        ShapeError: where the posteriors are single points, as for codes.

    References:
        VAE with a VampPrior (Tomczak, Welling; 2018), https://arxiv.org/abs/1705.07120, eq. 9.
    """

    name = "vamp"
    logits: Tensor

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        components: Annotated[int, Field(ge=1, le=65536)] = 100,
        clamp: bool = False,
        weighted: bool = False,
    ) -> None:
        super().__init__()
        if root.support == "codes":
            raise ShapeError(
                "a VampPrior is a mixture of posterior densities; this latent is on a space of codes, which has none: "
                "choose prior=codes or transformer"
            )
        self.inputs = nn.Parameter(nn.init.uniform_(torch.empty(components, *data_shape)))
        self.contexts = nn.Parameter(nn.init.uniform_(torch.empty(components, context)), requires_grad=context > 0)
        equal = torch.zeros(components)
        if weighted:
            self.logits = nn.Parameter(equal)
        else:
            self.register_buffer("logits", equal, persistent=False)
        self.clamp = clamp
        self.out_shape = root.shape
        self.begins_with = components

    def begin(self, x: Tensor, c: Tensor, posterior: Posterior) -> None:
        self.inputs[: len(x)] = x.to(self.inputs).where(mask(x), self.inputs[: len(x)])
        self.contexts[: len(c)] = c.to(self.contexts)

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        q = posterior(self.inputs.clamp(0, 1) if self.clamp else self.inputs, self.contexts)
        if isinstance(q, distributions.PointMass):
            raise ShapeError(
                "prior 'vamp': a VampPrior is a mixture of posterior densities; those of this latent are single points: "
                "choose prior=mixture or flow"
            )
        return Mixture(self.logits, q, len(c))
