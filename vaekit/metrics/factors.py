"""How well codes take known factors apart: MIG, SAP, DCI, and the scores of beta-VAE and FactorVAE.

Codes (N, D) are those of N examples, the means of their posteriors for instance; factors (N, F) are class numbers, one column
for each. N is part of every number: give several thousand. What a paper leaves open is as in Challenging Common Assumptions in
the Unsupervised Learning of Disentangled Representations (Locatello et al.; 2019), https://arxiv.org/abs/1811.12359.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaekit.data.arrays import as_tensor
from vaekit.errors import ConfigError, DataError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def mig(codes: npt.ArrayLike, factors: npt.ArrayLike, bins: int = 20) -> float:
    r"""The mutual information gap: how much more the best code says of a factor than the second best.

    $$\frac{1}{F} \sum_k \frac{1}{H(v_k)} \left( I(z_{j_k}; v_k) - \max_{j \neq j_k} I(z_j; v_k) \right), \quad
    j_k = \arg\max_j I(z_j; v_k)$$

    Args:
        codes: (N, D).
        factors: (N, F), class numbers.
        bins: of equal width, for each code; a factor with more values than that keeps the score below 1.

    Returns:
        From 0 to 1. Where there is one code alone, a constant is the second.

    References:
        Isolating Sources of Disentanglement in Variational Autoencoders (Chen, Li, Grosse, Duvenaud; 2018),
        https://arxiv.org/abs/1802.04942, section 4.1, eq. 6.
    """
    _at_least(2, bins=bins)
    z, v = _checked(codes, factors)
    low, width = z.min(0), np.where(_spread(z) > 0, np.ptp(z, axis=0), np.inf)
    # rounded, so that equal values fall into the same bin whatever their code is scaled by
    places = np.floor(np.round((z - low) / width * bins, 9)).clip(max=bins - 1).astype(np.int64)
    gaps = [_gap([_information(z_j, v_k) for z_j in places.T], 0) / _information(v_k, v_k) for v_k in v.T]
    return float(np.clip(np.mean(gaps), 0, 1))


def sap(codes: npt.ArrayLike, factors: npt.ArrayLike, seed: int = 0) -> float:
    r"""Separated attribute predictability: how much better the best code alone predicts a factor than the second best.

    $$\frac{1}{F} \sum_k \left( S_{j_k k} - \max_{j \neq j_k} S_{jk} \right), \quad j_k = \arg\max_j S_{jk}$$

    $S_{jk}$ is the balanced accuracy, on a third of the examples, of thresholds on code j that are fitted to the others, one
    fewer than factor k has values. This is the paper's; the linear support vector machine of Locatello et al. cannot find a
    value between two others, and gives the perfect code of a factor with 16 values 0.05.

    Args:
        codes: (N, D).
        factors: (N, F), class numbers.
        seed: what the split depends on.

    Returns:
        From 0 to the mean of $1 - 1/K_k$ over factors of $K_k$ values, because the second best can always guess. Where there is
        one code alone, a constant is the second.

    References:
        Variational Inference of Disentangled Latent Concepts from Unlabeled Observations
        (Kumar, Sattigeri, Balakrishnan; 2018), https://arxiv.org/abs/1711.00848, section 3.
    """
    from sklearn.tree import DecisionTreeClassifier

    z, v = _checked(codes, factors)
    z = _standardised(z)
    train, test = _split(len(z), np.random.default_rng(seed))

    def score(z_j: Floats, v_k: Integers) -> float:
        thresholds = DecisionTreeClassifier(max_leaf_nodes=int(v_k.max()) + 1, class_weight="balanced", random_state=0)
        right = thresholds.fit(z_j[train, None], v_k[train]).predict(z_j[test, None]) == v_k[test]
        each = np.bincount(v_k[test])
        return float((np.bincount(v_k[test], right)[each > 0] / each[each > 0]).mean())

    return float(np.mean([_gap([score(z_j, v_k) for z_j in z.T], 1 / (v_k.max() + 1)) for v_k in v.T]))


def dci(codes: npt.ArrayLike, factors: npt.ArrayLike, trees: int = 20, seed: int = 0) -> dict[str, float]:
    r"""Disentanglement, completeness and informativeness, by how important each code is to a predictor of each factor.

    With $R_{jk}$ the importance of code j for factor k and $H_n$ the entropy to the base n of what is scaled to sum to 1:

    $$D = \sum_j \rho_j \left( 1 - H_F(R_{j \cdot}) \right), \quad \rho_j = \frac{\sum_k R_{jk}}{\sum_{ik} R_{ik}}, \quad
    C = \frac{1}{F} \sum_k \left( 1 - H_D(R_{\cdot k}) \right)$$

    The predictor is a random forest that looks at all codes for every split and keeps 1 % of the examples in every leaf, else
    it would make much of noise; R is its mean decrease in impurity. The paper tunes a lasso or a forest, Locatello et al. boost
    100 trees a value, at some forty times the cost. Only numbers of the same predictor can be compared. 5,000 examples are
    enough: 20,000 with 100 codes take most of a minute.

    Args:
        codes: (N, D).
        factors: (N, F), class numbers.
        trees: in the forest of each factor.
        seed: what the split and the forests depend on.

    Returns:
        `disentanglement`, from 0, which codes that say nothing get, to 1, which one factor alone gets; `completeness` likewise,
        where one code alone gets 1; `informativeness`, the mean accuracy on a third of the examples, from the share of the
        commonest value, which is chance, to 1.

    References:
        A Framework for the Quantitative Evaluation of Disentangled Representations (Eastwood, Williams; 2018),
        https://openreview.net/forum?id=By-7dz-AZ, section 2.
    """
    from sklearn.ensemble import RandomForestClassifier

    _at_least(1, trees=trees)
    z, v = _checked(codes, factors)
    z, rng = _standardised(z), np.random.default_rng(seed)
    train, test = _split(len(z), rng)
    importances, accuracies = [], []
    for v_k in v.T:
        forest = RandomForestClassifier(
            trees, max_features=None, min_samples_leaf=0.01, random_state=int(rng.integers(2**31))
        ).fit(z[train], v_k[train])
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(z[test], v_k[test]))
    r = np.array(importances)  # (F, D)
    found = {
        "disentanglement": r.sum(0) @ _concentration(r.T) / max(r.sum(), _TINY),
        "completeness": _concentration(r).mean(),
        "informativeness": np.mean(accuracies),
    }
    return {name: float(np.clip(score, 0, 1)) for name, score in found.items()}


@dataclass(frozen=True)
class Groups:
    """Where groups of codes come from that share the value of one factor and differ in the others as they may.

    Args:
        draw: from the place of the factor that is shared (None for none), how many groups, of how many codes each, and a
            generator to the codes (groups, size, D). Each group has a value of its own.
        factors: how many there are.
    """

    draw: Callable[[int | None, int, int, np.random.Generator], Floats]
    factors: int

    @classmethod
    def of(cls, codes: npt.ArrayLike, factors: npt.ArrayLike) -> "Groups":
        """Groups taken, with replacement, from examples that hold every combination of factors or are a random sample.

        A value is drawn as often as examples have it; one that fewer than 10 have is left out.

        Args:
            codes: (N, D).
            factors: (N, F), class numbers.
        """
        z, v = _checked(codes, factors)
        order = np.argsort(v, axis=0, kind="stable")
        counts = [np.bincount(v_k) for v_k in v.T]
        common = [np.flatnonzero(count[v_k] >= _EACH) for count, v_k in zip(counts, v.T, strict=True)]

        def draw(factor: int | None, groups: int, size: int, rng: np.random.Generator) -> Floats:
            if factor is None:
                return np.asarray(z[rng.integers(len(z), size=(groups, size))])
            value = v[rng.choice(common[factor], groups), factor][:, None]
            count = counts[factor]
            places = (np.cumsum(count) - count)[value] + rng.integers(count[value], size=(groups, size))
            return np.asarray(z[order[places, factor]])

        return cls(draw, v.shape[1])

    def codes(self, factor: int | None, groups: int, size: int, rng: np.random.Generator) -> Floats:
        """What `draw` gives, once it is known to be of the shape that was asked for."""
        z = self.draw(factor, groups, size, rng)
        if z.ndim != 3 or z.shape[:2] != (groups, size) or not np.isfinite(z).all():
            raise DataError(f"codes drawn have shape {z.shape}: finite numbers of shape ({groups}, {size}, D) are wanted")
        return z


def beta_vae_score(groups: Groups, pairs: int = 64, train: int = 10_000, test: int = 5_000, seed: int = 0) -> float:
    r"""How well a linear classifier tells which factor pairs of examples share, from how much their codes differ.

    A point is $\frac{1}{L} \sum_l |z^l_1 - z^l_2|$ over L pairs that share the same factor, each at a value of its own; the
    classifier is a logistic regression. Codes are divided by their standard deviations first, lest their scales matter.

    Args:
        groups: the examples; `Groups.of(codes, factors)` for those of a data set.
        pairs: L.
        train: points to fit the classifier to, the same number for each factor.
        test: points to score it on.
        seed: what the draws depend on.

    Returns:
        The accuracy, from 1/F, which is chance and what constant codes get, to 1, which codes that mix factors can have too.

    References:
        beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al.; 2017),
        https://openreview.net/forum?id=Sy2fzU9gl, section 3.
    """
    from sklearn.linear_model import LogisticRegression

    _at_least(1, pairs=pairs, train=train, test=test)
    rng = np.random.default_rng(seed)
    deviation = _deviation(groups, rng)
    scale = np.where(deviation > 0, deviation, np.inf)

    def points(n: int) -> tuple[Floats, Integers]:
        found = [(np.abs(z[:, :, 0] - z[:, :, 1]).mean(1) / scale, k) for k, z in _draws(groups, n, pairs, 2, rng)]
        return np.concatenate([x for x, _ in found]), np.concatenate([np.full(len(x), k) for x, k in found])

    return float(LogisticRegression(max_iter=10_000).fit(*points(train)).score(*points(test)))


def factor_vae_score(
    groups: Groups, size: int = 64, train: int = 10_000, test: int = 5_000, dead: float = 0.05, seed: int = 0
) -> float:
    r"""How well the code that varies least among examples that share a factor tells which factor that is.

    A group votes for $\arg\min_j \operatorname{Var}_\text{group}(z_j) / \operatorname{Var}(z_j)$, and the classifier takes a
    code for the factor whose groups voted for it most.

    Args:
        groups: the examples; `Groups.of(codes, factors)` for those of a data set.
        size: examples in a group.
        train: groups that vote, the same number for each factor.
        test: groups to score the classifier on.
        dead: codes of a smaller standard deviation take no part. It is for codes on the scale of a standard normal prior, where
            a dimension that is not in use has hardly any; give 0 for others.
        seed: what the draws depend on.

    Returns:
        The accuracy, from 1/F, which is chance and what constant codes get, to 1.

    References:
        Disentangling by Factorising (Kim, Mnih; 2018), https://arxiv.org/abs/1802.05983, section 4.
    """
    _at_least(2, size=size)
    _at_least(1, train=train, test=test)
    rng = np.random.default_rng(seed)
    deviation = _deviation(groups, rng)
    alive = (deviation > 0) & (deviation >= dead)
    if not alive.any():
        return 1 / groups.factors

    def votes(n: int) -> Integers:
        table = np.zeros((int(alive.sum()), groups.factors), np.int64)
        for k, z in _draws(groups, n, 1, size, rng):
            least = (z[:, 0][:, :, alive].var(1) / deviation[alive] ** 2).argmin(1)
            table[:, k] += np.bincount(least, minlength=len(table))
        return table

    taken_for, found = votes(train).argmax(1), votes(test)
    return float(found[np.arange(len(found)), taken_for].sum() / found.sum())


_EACH = 10  # examples of a value: of fewer neither a frequency nor a variance says much
_AT_ONCE = 2**17  # codes in memory
_TINY = 1e-300


def _at_least(least: int, **options: int) -> None:
    for name, value in options.items():
        if value < least:
            raise ConfigError(f"{name} is {value}: at least {least} is needed")


def _checked(codes: npt.ArrayLike, factors: npt.ArrayLike) -> tuple[Floats, Integers]:
    """Codes (N, D), and the values of the factors (N, F) numbered from 0 without gaps."""
    given, classes = as_tensor(codes, "what is given as codes"), as_tensor(factors, "what is given as factors")
    if given.dim() != 2 or classes.dim() != 2 or len(given) != len(classes) or 0 in (*given.shape, *classes.shape):
        shapes = f"codes have shape {tuple(given.shape)} and factors {tuple(classes.shape)}"
        raise DataError(f"{shapes}: give (N, D) and (N, F) of the same N examples")
    if classes.is_floating_point():
        raise DataError(f"factors are of {classes.dtype}: give class numbers, which are integers")
    z: Floats = given.double().numpy()
    if not np.isfinite(z).all():
        row, column = np.argwhere(~np.isfinite(z))[0]
        raise DataError(f"code {column} of example {row} is {z[row, column]}: give finite numbers")
    v = np.empty(classes.shape, np.int64)
    for k, numbers in enumerate(classes.numpy().T):
        values, v[:, k] = np.unique(numbers, return_inverse=True)
        if len(values) == 1:
            raise DataError(f"factor {k} is {values[0]} in all {len(v)} examples: leave out what does not vary")
        if len(v) < _EACH * len(values):
            needed = f"give at least {_EACH * len(values)} examples, {_EACH} a value, or join values"
            raise DataError(f"factor {k} has {len(values)} values in {len(v)} examples: {needed}")
    return z, v


def _spread(z: Floats) -> Floats:
    """The standard deviation of each code (D,); 0 where it is constant but for rounding."""
    deviation = z.std(0)
    return np.where(deviation > 1e-9 * np.abs(z).max(0), deviation, 0)


def _standardised(z: Floats) -> Floats:
    deviation = _spread(z)
    return np.asarray((z - z.mean(0)) / np.where(deviation > 0, deviation, np.inf))


def _split(n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Two thirds to fit to and a third to score on."""
    order = rng.permutation(n)
    return order[: 2 * n // 3], order[2 * n // 3 :]


def _information(a: Integers, b: Integers) -> float:
    """The mutual information of two columns of class numbers, of their frequencies, in nats; of one with itself its entropy."""
    columns = int(b.max()) + 1
    joint = np.bincount(a * columns + b, minlength=(int(a.max()) + 1) * columns).reshape(-1, columns) / len(a)
    apart, there = joint.sum(1, keepdims=True) * joint.sum(0), joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _gap(scores: list[float], guess: float) -> float:
    """Between the best and the second best, which is a guess where there is one alone."""
    second, best = sorted(scores if len(scores) > 1 else [guess, *scores])[-2:]
    return best - second


def _concentration(weights: Floats) -> Floats:
    """One less the entropy to the base B of each row of (A, B), scaled to sum to 1; 0 for a row of zeros."""
    total = weights.sum(1)
    p = weights / np.maximum(total, _TINY)[:, None]
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(1) / np.log(max(2, weights.shape[1]))
    return np.where(total > 0, 1 - entropy, 0)


def _deviation(groups: Groups, rng: np.random.Generator) -> Floats:
    """Of each code (D,), from 10,000 examples."""
    if groups.factors < 2:
        raise DataError("there is one factor: at least 2 are needed to ask which of them is shared")
    return _spread(groups.codes(None, 1, 10_000, rng)[0])


def _draws(groups: Groups, n: int, each: int, size: int, rng: np.random.Generator) -> Iterator[tuple[int, Floats]]:
    """n / F times (each, size, D) codes that share factor k, for every k, in portions (some, each, size, D)."""
    for k in range(groups.factors):
        left = max(1, n // groups.factors)
        while left:
            some = min(left, max(1, _AT_ONCE // (each * size)))
            z = groups.codes(k, some * each, size, rng)
            yield k, z.reshape(some, each, size, -1)
            left -= some
