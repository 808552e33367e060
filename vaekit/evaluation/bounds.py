"""The bound and its terms, in nats per example."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from vaekit.blocks import drawing, evaluation
from vaekit.data.batches import Batches
from vaekit.data.subset import some
from vaekit.errors import DataError
from vaekit.model import VAE


def bound(
    model: VAE,
    batches: Iterable[Any],
    samples: int = 1,
    seed: int = 0,
    total: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> dict[str, float]:
    r"""The negative ELBO and its terms, means over all examples, whatever loss the model was trained with.

    Args:
        model: to evaluate; on its device, in evaluation mode.
        batches: of (x, y) or x, on any device.
        samples: draws of z an example.
        seed: what the draws depend on.
        total: sums of this process as sums over all that share the batches.

    Returns:
        `nelbo`, `reconstruction` ($-\mathbb E_q \log p(x \mid z, c)$) and `kl`, in nats per example; `reconstruction` alone
        where the posterior has no density.
    """
    where = model.context.empty
    rows: list[Tensor] = []
    n = 0
    with torch.no_grad(), evaluation(model), drawing(seed, where.device):
        for batch in batches:
            x, y = placed(batch, where)
            trace = model(x, model.context(y, len(x)), samples)
            rows.append(torch.stack([-trace.log_px().mean(0).sum(), trace.kl().sum()]))
            n += len(x)
    own = torch.stack(rows).cpu().double().sum(0).tolist() if rows else [0.0, 0.0]
    *sums, examples = total(torch.tensor([*own, n], dtype=torch.float64)).tolist()
    if not examples:
        raise DataError("there are no examples to evaluate")
    reconstruction, kl = (value / examples for value in sums)
    if not model.latent.has_density:
        return {"reconstruction": reconstruction}
    return {"nelbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}


def log_likelihood(
    model: VAE,
    batches: Iterable[Any],
    k: int = 200,
    n: int | None = None,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> Tensor:
    """The importance-weighted bound on log p(x | c) of each example, as `VAE.log_likelihood` has it.

    Args:
        model: to evaluate, on its device.
        batches: of (x, y) or x, on any device; iterated twice where n is given.
        k: importance samples an example.
        n: examples, drawn by the seed; all where there is none.
        seed: what the draws depend on.
        tell: is told after each batch how many examples are done.

    Returns:
        (n,), in nats per example, float64, on the CPU.

    Raises:
        DataError: where there are no examples.
    """
    found: list[Tensor] = []
    for i, (x, y) in enumerate(chosen(batches, n, model.context.empty, seed)):
        found.append(model.log_likelihood(x, y if model.conditional else None, k=k, seed=seed + i).cpu())
        tell(sum(map(len, found)))
    if not found:
        raise DataError("there are no examples to evaluate")
    return torch.cat(found)


def placed(batch: Any, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """A batch x or (x, y) as (x, y), x on the device of `like` and in its dtype, but never in half precision."""
    x, y = batch if isinstance(batch, tuple | list) else (batch, None)
    dtype = torch.promote_types(like.dtype, torch.float32)
    return x.to(like.device, dtype, non_blocking=True), None if y is None else y.to(like.device, non_blocking=True)


def chosen(batches: Iterable[Any], most: int | None, like: Tensor, seed: int = 0) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Of each batch, as `placed` has it, those that are among at most `most` of all examples, drawn by the seed."""
    batches = list(batches) if isinstance(batches, Iterator) and most is not None else batches
    numbers = None if most is None else some(count(batches), most, seed)
    start = 0
    for batch in batches:
        x, y = placed(batch, like)
        if numbers is not None:
            own = numbers[(numbers >= start) & (numbers < start + len(x))] - start
            start += len(x)
            x, y = x[own.to(x.device)], None if y is None else y[own.to(y.device)]
        if len(x):
            yield x, y


def count(batches: Iterable[Any]) -> int:
    """The examples in them."""
    if isinstance(batches, Batches):
        return batches.examples
    return sum(len(batch[0] if isinstance(batch, tuple | list) else batch) for batch in batches)
