"""What the latents of a model hold: how many dimensions are in use, how much they say of the data, and what a probe reads.

All are of held-out examples, several thousand of them: N is part of every number.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaekit.distributions import full_precision
from vaekit.errors import DataError


@dataclass(frozen=True)
class Units:
    """A number for each latent dimension, and how many are in use by it.

    Args:
        values: (D,), float64.
        threshold: what the number of a dimension in use exceeds.
    """

    values: Tensor
    threshold: float

    @property
    def count(self) -> int:
        """How many dimensions are above the threshold."""
        return int((self.values > self.threshold).sum())


@dataclass(frozen=True)
class Information:
    """What z tells of x, estimated from N examples, in nats.

    Args:
        mutual: I(x; z) under q; never more than log N.
        aggregated_kl: KL(q(z) ‖ p(z)), of the mean of all posteriors against the prior.
        examples: N.
    """

    mutual: float
    aggregated_kl: float
    examples: int

    @property
    def kl(self) -> float:
        """The mean of KL(q(z | x) ‖ p(z)) that the two sum to, from the same draws; the true I(x; z) is no larger."""
        return self.mutual + self.aggregated_kl

    @property
    def saturated(self) -> bool:
        """Whether `mutual` is within one nat of log N: it is then too low, and `aggregated_kl` as much too high."""
        return self.mutual > math.log(self.examples) - 1


@dataclass(frozen=True)
class Probe:
    """How well a linear classifier reads labels off the latents.

    Args:
        accuracy: the share of the test split that it gets right.
        commonest: the share that always guessing the commonest class of the training split gets right.
        trained: examples in the training split.
        tested: examples in the test split.
    """

    accuracy: float
    commonest: float
    trained: int
    tested: int


def active_units(means: Tensor, threshold: float = 0.01) -> Units:
    r"""How much the posterior mean of each dimension varies over the data.

    $$\operatorname{Var}_x\, \mathbb E_{q(z \mid x)}[z_d]$$

    A dimension above the threshold is called active. It may still carry next to nothing: variances of 0.01 and 0.1 with the
    prior's scale go with 0.005 and 0.05 nats. See `kl_units`.

    Args:
        means: of the posteriors, (N, D).
        threshold: above which a dimension is active.

    Returns:
        The variances, in squared units of z.

    References:
        Importance Weighted Autoencoders (Burda, Grosse, Salakhutdinov; 2015), https://arxiv.org/abs/1509.00519, section 5.2.
    """
    return Units(_matrix("active_units", "means", means, 2).var(0, correction=0), threshold)


def kl_units(kl_dims: Tensor, threshold: float = 0.1) -> Units:
    r"""The KL of each dimension, as a mean over the data: $\mathbb E_x\, \mathrm{KL}(q(z_d \mid x) \,\Vert\, p(z_d))$.

    Args:
        kl_dims: (N, D), in nats; `Site.kl_dims()` gives it where q and p are products over dimensions.
        threshold: above which a dimension counts as used, in nats.

    Returns:
        The mean KLs, in nats; they sum to the KL term of the ELBO.
    """
    return Units(_matrix("kl_units", "kl_dims", kl_dims, 1).mean(0), threshold)


def effective_dimension(means: Tensor) -> float:
    r"""The participation ratio of the covariance S of the posterior means: $(\operatorname{tr} S)^2 / \operatorname{tr} S^2$.

    Args:
        means: of the posteriors, (N, D).

    Returns:
        From 1, where all vary along one line, to D, where they vary alike in all directions; 0 where nothing varies.

    References:
        A Theory of Multineuronal Dimensionality, Dynamics and Measurement (Gao, Trautmann, Yu, Santhanam, Ryu, Shenoy, Ganguli;
        2017), https://doi.org/10.1101/214262.
    """
    means = _matrix("effective_dimension", "means", means, 2)
    centred = means - means.mean(0)
    covariance = centred.T @ centred / len(means)
    ratio = covariance.trace() ** 2 / covariance.square().sum()
    return ratio.item() if covariance.any() else 0.0


@torch.no_grad()
def information(q: Distribution, p: Distribution, z: Tensor) -> Information:
    r"""The mutual information of x and z, and the KL of the aggregated posterior against the prior.

    $$\mathbb E_x \mathrm{KL}(q(z \mid x) \,\Vert\, p(z)) = I(x; z) + \mathrm{KL}(q(z) \,\Vert\, p(z)), \qquad
    \log q(z_i) \approx \log \sum_{j=1}^N q(z_i \mid x_j) - \log N,$$

    with each draw scored under the posteriors of all N examples. The estimate of I cannot exceed log N: where it comes near, it
    says that N is too small and `saturated` is true. So take one set of examples, as many as there are, and never a mean over
    batches. N² log-densities are computed, a few rows at a time.

    Args:
        q: the posteriors q(z | x), of batch (N,) and any event; `log_prob` of (R, 1, *event) must give (R, N).
        p: the prior, the same for all examples; `log_prob` of (N, *event) must give (N,).
        z: one draw from each posterior, (N, *event): `trace.draw.z[0]` or `site.z[0]`.

    Returns:
        In nats, summed in float64.

    References:
        ELBO Surgery: Yet Another Way to Carve Up the Variational Evidence Lower Bound (Hoffman, Johnson; 2016),
        http://approximateinference.org/accepted/HoffmanJohnson2016.pdf.

        Lagging Inference Networks and Posterior Collapse in Variational Autoencoders (He, Spokoyny, Neubig, Berg-Kirkpatrick;
        2019), https://arxiv.org/abs/1901.05534, for the estimator.
    """
    z = z.detach()
    if len(q.batch_shape) != 1 or z.shape != q.batch_shape + q.event_shape:
        raise DataError(
            f"information is of N posteriors and one draw from each: q has batch {tuple(q.batch_shape)} and event "
            f"{tuple(q.event_shape)}, and z has shape {tuple(z.shape)}; of draws (S, N, ...) give z[0]"
        )
    n = len(z)
    if n < 2:
        raise DataError(f"information: there are {n} examples: it needs 2, and means little below a thousand")
    with full_precision(z):
        given = _finite("q(z | x)", q.log_prob(z).double())
        prior = _finite("p(z)", p.log_prob(z).double())
        aggregated = torch.empty_like(given)
        rows = max(1, _ELEMENTS_AT_ONCE // max(1, z.numel()))
        # Written in place: small tensors that outlive each turn would split the memory that the next one could have had again.
        for some, result in zip(z.split(rows), aggregated.split(rows), strict=True):
            result.copy_(q.log_prob(some[:, None]).double().logsumexp(1) - math.log(n))
    _finite("q(z)", aggregated)
    return Information((given - aggregated).mean().item(), (aggregated - prior).mean().item(), n)


def linear_probe(means: Tensor, labels: Tensor, test_means: Tensor, test_labels: Tensor) -> Probe:
    r"""Logistic regression from posterior means to labels, fitted on one split and scored on another.

    The means are standardised with the training split, and the weights have a penalty of $\frac12 \lVert W \rVert^2$. Nothing
    is drawn: the same input gives the same result.

    Args:
        means: of the training split, (N, D).
        labels: whole numbers, (N,).
        test_means: of the test split, (M, D).
        test_labels: (M,).

    Returns:
        Two shares of the test split between 0 and 1: what the probe gets right, and what a constant guess gets right.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = _matrix("linear_probe", "means", means, 2), _matrix("linear_probe", "test_means", test_means, 1)
    if train.shape[1] != test.shape[1]:
        raise DataError(f"linear_probe: means have {train.shape[1]} dimensions and test_means {test.shape[1]}: give the same")
    for name, given, n in (("labels", labels, len(train)), ("test_labels", test_labels, len(test))):
        if given.shape != (n,) or given.is_floating_point() or given.is_complex():
            raise DataError(
                f"linear_probe: {name} have shape {tuple(given.shape)} and are of {given.dtype}: "
                f"give {n} whole numbers, one for each row of means"
            )
    labels, test_labels = labels.cpu(), test_labels.cpu()
    classes, counts = labels.unique(return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"linear_probe: all labels are {classes.item()}: there is nothing to tell apart; give two classes or more"
        )
    scale = train.std(0, correction=0)
    centre, scale = train.mean(0), torch.where(scale > 0, scale, 1.0)
    fitted = LogisticRegression(max_iter=1000).fit(((train - centre) / scale).cpu().numpy(), labels.numpy())
    guessed = torch.from_numpy(fitted.predict(((test - centre) / scale).cpu().numpy()))
    accuracy = (guessed == test_labels).double().mean().item()
    commonest = (test_labels == classes[counts.argmax()]).double().mean().item()
    return Probe(accuracy, commonest, len(train), len(test))


def _matrix(what: str, name: str, values: Tensor, least: int) -> Tensor:
    """In float64, once it is known to be (N, D), finite and of enough examples."""
    if values.dim() != 2 or not values.shape[1]:
        raise DataError(f"{what} is of {name} (N, D), and these have shape {tuple(values.shape)}: of a grid, give flatten(1)")
    if len(values) < least:
        raise DataError(f"{what}: there are {len(values)} {name}: give at least {least}")
    if not values.isfinite().all():
        raise DataError(f"{what}: {name} hold values that are not finite")
    return values.detach().double()


def _finite(what: str, log_density: Tensor) -> Tensor:
    bad = int((~log_density.isfinite()).sum())
    if bad:
        raise DataError(
            f"information: log {what} is not finite at {bad} of {len(log_density)} z: "
            f"each must be a draw from its own posterior, inside the support of the prior"
        )
    return log_density


_ELEMENTS_AT_ONCE = 1_000_000  # numbers of z in one comparison of some draws with all posteriors
