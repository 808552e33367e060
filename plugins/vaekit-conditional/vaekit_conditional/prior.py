"""A prior that depends on the context."""

from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit import Posterior, Prior, Shape, ShapeError, Space, Widths, dense, distributions


class ConditionalNormal(Prior):
    r"""$p(z \mid c) = \mathcal N(z; \mu(c), \operatorname{diag} \sigma^2(c))$, with $\log \sigma^2$ held within ±20.

    c (N, C) gives a distribution of batch (N,) and event root.shape. It starts near the standard normal.

    Args:
        hidden: width of each hidden layer with relu; none makes the moments linear in c.

    References:
        Learning Structured Output Representation using Deep Conditional Generative Models (Sohn, Lee, Yan; 2015),
        https://papers.nips.cc/paper/5775, eq. 4.
    """

    name = "conditional"

    def __init__(
        self,
        root: Space,
        data_shape: Shape,
        context: int,
        *,
        hidden: Widths = (),
    ) -> None:
        super().__init__()
        if root.support != "real":
            wrong = f"a normal prior lives on a real space; this latent is on a space of {root.support}"
            raise ShapeError(f"{wrong}: choose prior={root.usual_prior}")
        if context == 0:
            raise ShapeError("it is p(z | y), and this model has no y: add context=labels")
        widths = (context, *hidden)
        self.hidden = dense(widths)
        self.head = nn.Linear(widths[-1], 2 * root.dimensions)
        self.out_shape = root.shape

    def forward(self, c: Tensor, posterior: Posterior) -> Distribution:
        loc, log_variance = distributions.promote(*self.head(self.hidden(c)).chunk(2, dim=1))
        scale = (log_variance.clamp(-20, 20) / 2).exp()
        return distributions.normal(loc.reshape(-1, *self.out_shape), scale.reshape(-1, *self.out_shape))
