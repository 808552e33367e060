"""The ELBO with its KL taken apart, to weigh the total correlation of the latents."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Independent

from vaekit import VAE, ConfigError, Loss, Shape, ShapeError, Site, Space, Terms, distributions
from vaekit_losses.shared import with_layers_below

Weight = Annotated[float, Field(ge=0, le=1e6)]


class BetaTC(Loss):
    r"""$-\mathbb E_q \log p(x \mid z, c) + \alpha \, I_q(x; z) + \beta \, \mathrm{TC}(z) + \gamma \, \mathrm{D}(z)$.

    x (N, *data_shape) and c (N, C) give a scalar, mean over the batch. With the aggregated posterior
    $q(z) = \frac1E \sum_e q(z \mid x_e)$ over the E examples of the training set, the KL of the root latent is a sum of three:
    the mutual information $I_q(x; z) = \mathbb E \log \frac{q(z \mid x)}{q(z)}$; the total correlation
    $\mathrm{TC}(z) = \mathbb E \log \frac{q(z)}{\prod_d q(z_d)}$, which is zero where dimensions are independent; and the
    dimension-wise KL $\mathrm{D}(z) = \mathbb E \log \frac{\prod_d q(z_d)}{p(z)}$. Layers below the root add their KL as it is.

    The aggregated posterior is estimated at the draw $z_i$ of each example from the N posteriors of the batch:

    - `weighted`: $q(z_i) \approx \frac{1}{E N} \sum_j q(z_i \mid x_j)$. It is too small, by a factor of N where posteriors are
      far apart and of E where they are alike. By the logarithm of that the mutual information is reported too large, and so
      is the total correlation for each dimension but one; the gradient knows nothing of such constants.
    - `stratified`:
      $q(z_i) \approx \frac1E q(z_i \mid x_i) + \frac{E - 1}{E (N - 1)} \sum_{j \ne i} q(z_i \mid x_j)$, which is right in
      expectation, before the logarithm is taken, and exact where the batch is the training set. The paper gives one of the
      others a weight of its own; here all share it, for the same expectation and less variance. A batch of one example, or
      one that holds an example twice, is not what it assumes.

    Each process that trains estimates from its own part of a batch.

    Its parts are, in nats per example: `reconstruction`, $-\mathbb E_q \log p(x \mid z, c)$; `kl` (`kl_mc` where it had to be
    estimated from the draws); `nelbo`, the sum of the two (`profile` where the likelihood's training score is of no one
    density); `mutual_information`, `total_correlation` and `dimension_kl`, estimates whose sum is
    $\log q(z \mid x) - \log p(z)$ at the draws; and `penalty`, where the latent has one, which is added to the loss only.

    Args:
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the dimension-wise KL.
        estimator: of the aggregated posterior: `weighted` or `stratified`.

    Raises:
        ShapeError: where the latent is not on a real space.
        ConfigError: in training, where the posterior is not a product over dimensions.

    References:
        Isolating Sources of Disentanglement in VAEs (Chen et al.; 2018), https://arxiv.org/abs/1802.04942, eq. 2: the three
        terms; eq. 4: the loss; appendix C.2: `stratified`.
    """

    name = "beta-tc"

    def __init__(
        self,
        data_shape: Shape,
        root: Space,
        examples: int,
        *,
        alpha: Weight = 1.0,
        beta: Weight = 6.0,
        gamma: Weight = 1.0,
        estimator: Literal["weighted", "stratified"] = "weighted",
    ) -> None:
        super().__init__()
        if root.support != "real":
            raise ShapeError(f"total correlation is of latents on a real space; this latent is on a space of {root.support}")
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.stratified = estimator == "stratified"
        self.examples = max(examples, 1)
        self.out_shape = ()

    def forward(self, model: VAE, x: Tensor, c: Tensor, player: str = "model") -> Terms:
        trace = model(x, c)
        with distributions.full_precision(x):
            mutual, total, dims = self._apart(trace.draw.sites[0])
        log_px = trace.log_px().mean()
        parts = {
            **model.in_nats(trace, log_px, trace.kl().mean()),
            "mutual_information": mutual,
            "total_correlation": total,
            "dimension_kl": dims,
        }
        apart = self.alpha * mutual + self.beta * total + self.gamma * dims
        return Terms.of(trace, with_layers_below(apart - log_px, trace), parts)

    def _apart(self, site: Site) -> tuple[Tensor, Tensor, Tensor]:
        """Mutual information, total correlation and dimension-wise KL of the root."""
        log_q = _log_each(site)
        n = len(log_q)
        weights = self._log_weights(n, log_q)
        joint = log_q.sum(2)
        log_joint = (joint + weights).logsumexp(1)
        log_product = (log_q + weights[..., None]).logsumexp(1).sum(1)
        log_p = site.p.log_prob(site.z)[0]
        return (joint.diagonal() - log_joint).mean(), (log_joint - log_product).mean(), (log_product - log_p).mean()

    def _log_weights(self, n: int, like: Tensor) -> Tensor:
        """Logarithms of the weight of the posterior of j in the aggregated one at the draw of i, (N, N)."""
        if not self.stratified:
            return like.new_full((n, n), -math.log(self.examples * n))
        others = (self.examples - 1) / (self.examples * max(n - 1, 1))
        own = torch.eye(n, dtype=torch.bool, device=like.device)
        weight = torch.where(own, 1 / self.examples, others)
        return weight.to(like.dtype).log()


def _log_each(site: Site) -> Tensor:
    """log q of dimension d of the draw of i under the posterior of j, (N, N, D)."""
    q = site.q
    if not isinstance(q, Independent) or q.base_dist.event_shape:
        raise ConfigError(
            "loss 'beta-tc': it takes posteriors apart into dimensions, and those of this latent are no product: "
            "loss=factor takes any latent on a real space"
        )
    log_q: Tensor = q.base_dist.log_prob(site.z[0].unsqueeze(1))
    return log_q.flatten(2)
