"""Whether a likelihood can score the data, found out before training starts."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from vaekit.data.catalog import Lazy
from vaekit.data.prepare import SPLITS, Data
from vaekit.errors import ConfigError, DataError
from vaekit.parts import Context, Likelihood


def check_support(likelihood: Likelihood, data: Data) -> str:
    """Check every value of every split against the likelihood's support.

    Returns:
        A remark for the user where values are outside it but scored all the same (a pseudo-likelihood); else nothing.

    Raises:
        DataError: naming the first value that cannot be scored, and where it is.
    """
    remarks = [
        _check(likelihood, x, place, split)
        for split in SPLITS
        for x, place in _values(getattr(data, split).x, dynamic=split == "train" and data.info.binarize == "dynamic")
    ]
    return next(filter(None, remarks), "")


def check_labels(context: Context, data: Data) -> None:
    """Check that a conditional model's context knows every label.

    Raises:
        DataError: where there are no labels.
        ConfigError: where the context has too few classes.
    """
    if context.out_shape == (0,):
        return
    for split in SPLITS:
        y = getattr(data, split).y
        if y is None:
            raise DataError(f"context {context.name!r} needs labels, and {data.info.name} has none in its {split} split")
        try:
            context.parse(y.unique(), len(y.unique()), data.info.classes)
        except ConfigError as error:
            raise ConfigError(f"{data.info.name} has {len(data.info.classes)} classes: {error}") from None


Place = Callable[[int], str]


def _values(x: Tensor | Lazy, dynamic: bool) -> Iterator[tuple[Tensor, Place]]:
    """The distinct values where there are few, else all of them in pieces, with a function that says where one of them is."""
    if dynamic:
        yield torch.tensor([0.0, 1.0]), lambda i: ""
    elif not isinstance(x, Tensor):  # read one by one when the data were prepared; bytes, or floats in [0, 1]
        yield torch.arange(256) / 255, lambda i: ""
    elif x.dtype == torch.uint8:
        flat = x.reshape(-1)
        counts = sum((torch.bincount(piece, minlength=256) for piece in flat.split(_PIECE)), torch.zeros(256))
        levels = counts.nonzero()[:, 0]
        yield levels / 255, lambda i: _index(x, int((flat == levels[i]).nonzero()[0]))
    else:
        for start, piece in zip(range(0, x.numel(), _PIECE), x.reshape(-1).split(_PIECE), strict=True):
            yield piece, lambda i, start=start: _index(x, start + i)  # type: ignore[misc]


_PIECE = 2**24


def _index(x: Tensor, flat: int) -> str:
    first, *rest = (int(i) for i in torch.unravel_index(torch.tensor(flat), x.shape))
    return f"[{first}] at {tuple(rest)}"


def _check(likelihood: Likelihood, values: Tensor, place: Place, split: str) -> str:
    pseudo = likelihood.pseudo_support

    def first(mask: Tensor) -> str:
        i = int(mask.nonzero()[0])
        return f"{values[i]:g} in {split}{place(i)}"

    finite = torch.isfinite(values)
    if not finite.all():
        raise DataError(f"{first(~finite)} is not finite")
    supported = _inside(likelihood.support, values)
    if supported.all():
        return ""
    scored = supported if pseudo is None else supported | _inside(pseudo, values)
    if not scored.all():
        raise DataError(f"{first(~scored)} is outside the support of likelihood {likelihood.name!r} ({likelihood.support})")
    return (
        f"{first(~supported)} is outside the support of likelihood {likelihood.name!r}, which scores it all the same: "
        "the numbers are of a pseudo-likelihood, no bound (data.binarize=dynamic makes them one)"
    )


def _inside(support: Constraint, values: Tensor) -> Tensor:
    inside: Tensor = support.check(values)
    return inside
