"""What latents of one stochastic layer share."""

from torch import Tensor
from torch.distributions import Distribution

from vaekit import Draw, Latent, Site, distributions


class OneLayer(Latent):
    """A latent drawn from its posterior, of which the decoder sees `seen`."""

    def forward(self, h: Tensor, c: Tensor, prior: Distribution, samples: int) -> Draw:
        q = self.posterior(h, c)
        with distributions.full_precision(h):  # else autocast rounds what is multiplied with the noise
            root = q.rsample((samples,))
        return Draw(self.seen(root), (Site(q, prior, root),))

    def generate(self, root: Tensor, c: Tensor) -> Tensor:
        return self.seen(root)

    def seen(self, root: Tensor) -> Tensor:
        """What the decoder sees of roots (*, *root.shape): the roots themselves, unless a latent says otherwise."""
        return root
