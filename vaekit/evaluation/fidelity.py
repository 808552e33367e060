"""How samples are spread beside real examples, in the features of a named classifier."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import DataError
from vaekit.evaluation.bounds import chosen
from vaekit.evaluation.classifier import FEATURES, Trained
from vaekit.metrics import fidelity
from vaekit.model import VAE

_MOST = 10_000


def fidelity_of(model: VAE, batches: Iterable[Any], classifier: Trained, seed: int = 0) -> dict[str, Any]:
    """Fréchet distance, precision and recall of samples and of reconstructions, and of real examples themselves.

    At most 10,000 held-out examples are parted at random in two halves. Samples, reconstructions of the one half, and
    that half itself are each compared with the other: real examples have a distance too where they are so few, and nothing can
    do better.

    Args:
        model: whose samples, the means of p(x | z), are compared.
        batches: held-out (x, y) or x.
        classifier: in whose features; its numbers compare with no other's.
        seed: what the samples depend on.

    Returns:
        `classifier`, its `accuracy`, `n`, and of `samples`, `reconstructions` and `real` each `frechet`, `precision`, `recall`.

    Raises:
        DataError: where there are too few examples for a covariance.
    """
    x, y = _all(batches, model)
    n = len(x) // 2
    if n <= FEATURES:
        raise DataError(
            f"a Fréchet distance in {FEATURES} features needs more than {2 * FEATURES} held-out examples: there are {len(x)}"
        )
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).to(x.device)  # test sets may be sorted
    one, other = x[order[:n]], x[order[n : 2 * n]]
    labels = y[order[:n]] if model.conditional and y is not None else None
    chunks = _chunks(one, labels)
    again = torch.cat([model.reconstruct(some, given) for some, given in chunks])
    drawn = torch.cat([model.sample(len(some), y=given, seed=seed + i) for i, (some, given) in enumerate(chunks)])
    real = classifier.features(other)
    made = {"samples": drawn, "reconstructions": again, "real": one}
    found = {name: _compared(real, classifier.features(images.float())) for name, images in made.items()}
    return {"classifier": classifier.name, "accuracy": classifier.accuracy, "n": n, **found}


def _compared(real: Tensor, made: Tensor) -> dict[str, float]:
    shares = fidelity.precision_recall(real, made)
    return {"frechet": fidelity.frechet_distance(real, made), "precision": shares.precision, "recall": shares.recall}


def _all(batches: Iterable[Any], model: VAE) -> tuple[Tensor, Tensor | None]:
    pairs = list(chosen(batches, _MOST, model.context.empty))
    ys = [y for _, y in pairs if y is not None]
    return torch.cat([x for x, _ in pairs]), torch.cat(ys) if ys else None


def _chunks(x: Tensor, y: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    return [(some, None if y is None else y[i * 500 : (i + 1) * 500]) for i, some in enumerate(x.split(500))]
