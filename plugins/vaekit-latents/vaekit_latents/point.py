"""The deterministic latent."""

from math import prod

from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Shape, Space, distributions, join
from vaekit_latents.one_layer import OneLayer
from vaekit_latents.options import Features


class Point(OneLayer):
    r"""$q(z \mid x, c)$ is all on one point, $z = W (h, c) + b$: an autoencoder without noise.

    h (N, *in_shape) and c (N, C) give z (S, N, features), the same for every draw, which is also the code.

    A point of a real space has no density, so that there is no bound on log p(x): log q counts as 0, and what takes the place
    of the KL is $-\log p(z \mid c)$. No loss reports `nelbo`, `kl` or an importance-weighted bound, only `reconstruction`,
    and `log_likelihood` raises an error. The `elbo` loss minimises $-\log p(x \mid z, c) - \beta \log p(z \mid c)$; with a
    normal prior and a gaussian likelihood that is a squared error and $\tfrac\beta2 \lVert z \rVert^2$, a regularized
    autoencoder but for its term on the decoder. Codes are not spread as a normal prior is, so samples want a prior that is
    fitted to them.

    Args:
        features: latent dimensions.

    References:
        From Variational to Deterministic Autoencoders (Ghosh, Sajjadi, Vergari, Black, Schölkopf; 2019),
        https://arxiv.org/abs/1903.12436, section 3.
    """

    name = "point"
    has_density = False

    def __init__(self, in_shape: Shape, context: int, *, features: Features = 16) -> None:
        super().__init__()
        self.head = nn.Linear(prod(in_shape) + context, features)
        self.root = Space((features,))
        self.out_shape = (features,)

    def posterior(self, h: Tensor, c: Tensor) -> Distribution:
        return distributions.PointMass(*distributions.promote(self.code(h, c)))

    def code(self, h: Tensor, c: Tensor) -> Tensor:
        code: Tensor = self.head(join(h.flatten(1), c))
        return code
