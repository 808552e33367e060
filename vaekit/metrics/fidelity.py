"""How near a set of samples is to a set of data, as sets of features (N, D): distances, and precision and recall.

The features may be of any network, or the data themselves. A number means nothing without what the features are and how many
examples there were: show beside it the number between two halves of the data, with as many examples. Computed in float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.errors import DataError


@dataclass(frozen=True)
class PrecisionRecall:
    """How much of the samples is like the data, and how much of the data the samples reach.

    Args:
        precision: the share of the samples that lie where data are.
        recall: the share of the data that lie where samples are.
        neighbours: k, of the balls that cover a set.
    """

    precision: float
    recall: float
    neighbours: int


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    r"""The squared Fréchet distance between Gaussians fitted to two sets of features.

    $$\lVert m_1 - m_2 \rVert^2 + \operatorname{tr}\bigl(S_1 + S_2 - 2 (S_1 S_2)^{1/2}\bigr)$$

    Only of Inception features is it the Fréchet inception distance (FID). The estimate is too high by an amount that falls with
    N: compare only what has the same N.

    Args:
        real: features of data, (N, D).
        generated: features of samples, (M, D).

    Returns:
        In squared units of the features, 0 where means and covariances are the same.

    References:
        GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel, Ramsauer, Unterthiner,
        Nessler, Hochreiter; 2017), https://arxiv.org/abs/1706.08500, eq. 6.

        The Fréchet Distance between Multivariate Normal Distributions (Dowson, Landau; 1982),
        https://doi.org/10.1016/0047-259X(82)90077-X.
    """
    real, generated = _features("frechet_distance", real, generated)
    for name, features in (("real", real), ("generated", generated)):
        n, d = features.shape
        if n <= d:
            raise DataError(
                f"frechet_distance: {n} {name} examples are too few for a covariance of {d} features: "
                f"give at least {d + 1}, and better ten times as many, or features of fewer dimensions"
            )
    first, second = _root(real), _root(generated)
    # S = RᵀR for both, and the eigenvalues of S₁S₂ are the squares of the singular values of R₁R₂ᵀ: none is below zero and no
    # covariance is inverted, so that features that are constant or tied do no harm.
    cross = torch.linalg.svdvals(first @ second.T).sum()
    shift = (real.mean(0) - generated.mean(0)).square().sum()
    distance: float = (shift + first.square().sum() + second.square().sum() - 2 * cross).item()
    return max(0.0, distance)


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> PrecisionRecall:
    r"""Precision and recall of samples, where each set covers the balls around its points.

    A point φ is covered by a set Φ if $\lVert \varphi - \varphi' \rVert \le \lVert \varphi' - \mathrm{NN}_k(\varphi') \rVert$
    for some φ' of Φ, where $\mathrm{NN}_k$ is the kth nearest of the others in Φ. Precision is the share of samples that the
    data cover, recall the share of data that the samples cover. Being `<=`, it counts duplicates, whose balls are points.

    Args:
        real: features of data, (N, D).
        generated: features of samples, (M, D). Compare only what has the same N and M.
        neighbours: k; fewer make smaller balls.

    Returns:
        Two shares between 0 and 1.

    References:
        Improved Precision and Recall Metric for Assessing Generative Models (Kynkäänniemi, Karras, Laine, Lehtinen, Aila;
        2019), https://arxiv.org/abs/1904.06991, eq. 1 and 2.
    """
    real, generated = _features("precision_recall", real, generated)
    if neighbours < 1:
        raise DataError(f"precision_recall: neighbours is {neighbours}: a ball reaches to the first neighbour or further")
    for name, features in (("real", real), ("generated", generated)):
        if len(features) <= neighbours:
            raise DataError(
                f"precision_recall: {len(features)} {name} examples have no {neighbours} neighbours each: "
                f"give at least {neighbours + 1}, or fewer neighbours"
            )
    around_real, around_generated = _radii(real, neighbours), _radii(generated, neighbours)
    precise = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    recalled = 0
    rows = _rows(generated)
    for some, radii in zip(real.split(rows), around_real.split(rows), strict=True):
        distances = _distances(some, generated)
        precise |= (distances <= radii[:, None]).any(0)
        recalled += int((distances <= around_generated).any(1).sum())
    return PrecisionRecall(precise.double().mean().item(), recalled / len(real), neighbours)


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    r"""The squared maximum mean discrepancy with the kernel $k(a, b) = (a^\top b / D + 1)^3$, without bias.

    $$\frac{1}{N (N - 1)} \sum_{i \ne j} k(a_i, a_j) + \frac{1}{M (M - 1)} \sum_{i \ne j} k(b_i, b_j)
    - \frac{2}{N M} \sum_{i, j} k(a_i, b_j)$$

    Only of Inception features is it the kernel inception distance (KID). Of all pairs, not a mean over subsets.

    Args:
        real: features of data, (N, D).
        generated: features of samples, (M, D).

    Returns:
        Without a unit; 0 in the mean where both sets have the same distribution, so that it may be below.

    References:
        Demystifying MMD GANs (Bińkowski, Sutherland, Arbel, Gretton; 2018), https://arxiv.org/abs/1801.01401, section 4.

        A Kernel Two-Sample Test (Gretton, Borgwardt, Rasch, Schölkopf, Smola; 2012),
        https://jmlr.org/papers/v13/gretton12a.html, lemma 6.
    """
    real, generated = _features("kernel_distance", real, generated)
    n, m = len(real), len(generated)
    if min(n, m) < 2:
        raise DataError(f"kernel_distance: there are {n} real and {m} generated examples: give at least 2 of each")
    within = sum((_kernel_sum(a, a) - _kernel(a.square().sum(1), a)) / (len(a) * (len(a) - 1)) for a in (real, generated))
    return float(within - 2 * _kernel_sum(real, generated) / (n * m))


def _root(features: Tensor) -> Tensor:
    """R (D, D) with RᵀR the covariance; of the features themselves, since their covariance has half the digits."""
    centred = features - features.mean(0)
    root: Tensor = torch.linalg.qr(centred, mode="r").R / (len(features) - 1) ** 0.5
    return root


def _radii(features: Tensor, neighbours: int) -> Tensor:
    """The distance of each from its kth nearest neighbour, (N,); each is itself the nearest of all, at exactly zero."""
    radii, rows = features.new_empty(len(features)), _rows(features)
    # Written in place: small tensors that outlive each turn would split the memory that the next one could have had again.
    for some, result in zip(features.split(rows), radii.split(rows), strict=True):
        result.copy_(_distances(some, features).topk(neighbours + 1, largest=False).values[:, -1])
    return radii


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # By differences: by products it is faster, but duplicates come out apart, by 2e-5 where features are about 100.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    return sum(_kernel(some @ b.T, b) for some in a.split(_rows(b)))


def _kernel(products: Tensor, features: Tensor) -> float:
    return (products / features.shape[1] + 1).pow(3).sum().item()


def _rows(features: Tensor) -> int:
    return max(1, _PAIRS_AT_ONCE // len(features))


def _features(what: str, real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, once they are known to be features of one kind."""
    for name, features in (("real", real), ("generated", generated)):
        if features.dim() != 2 or not features.numel():
            raise DataError(f"{what} is of features (N, D); {name} has shape {tuple(features.shape)}: flatten it, or fill it")
        if not features.isfinite().all():
            raise DataError(f"{what}: {name} holds features that are not finite")
    if real.shape[1] != generated.shape[1]:
        raise DataError(
            f"{what}: there are {real.shape[1]} real and {generated.shape[1]} generated features: take both from one network"
        )
    return real.detach().double(), generated.detach().double()


_PAIRS_AT_ONCE = 1_000_000  # 8 MB of distances, however many examples there are
