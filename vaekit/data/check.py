"""Whether a likelihood can score the data, found out before training starts."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeGuard

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from vaekit.data.ahead import ahead
from vaekit.data.catalog import Examples, Lazy
from vaekit.data.prepare import SPLITS, Data
from vaekit.data.streamed import Stream
from vaekit.errors import ConfigError, DataError
from vaekit.parts import Context, Encoder, Likelihood
from vaekit.shapes import mask


def check_support(likelihood: Likelihood, data: Data) -> str:
    """Check every value of every split against the likelihood's support; of a stream the first, and all others when they come.

    Returns:
        A remark for the user where values are outside it but scored all the same (a pseudo-likelihood); else nothing.

    Raises:
        DataError: naming the first value that cannot be scored, and where it is.
    """
    drawn = data.info.binarize == "dynamic"
    remarks = [_split(likelihood, getattr(data, split), split, drawn and split == "train") for split in SPLITS]
    return next(filter(None, remarks), "")


def check_padding(encoder: Encoder, data: Data) -> None:
    """Check that an encoder reads sequences of several lengths where there are some.

    Raises:
        DataError: where it does not.
    """
    for split in SPLITS:
        examples = getattr(data, split)
        if not _is_padded(examples.x):
            continue
        if not encoder.takes_padding:
            raise DataError(
                f"{data.info.name} has padding (NaN) in its {split} split, which encoder {encoder.name!r} does not read: "
                "choose one that does, such as encoder=lstm"
            )
        there = mask(examples.x)
        begun = there[:, :, :1]
        before = torch.cat([torch.ones_like(begun[:, :1]), begun[:, :-1]], 1)
        wrong = (there != begun).any(2) | (begun > before)[..., 0]
        wrong[:, 0] |= ~begun[:, 0, 0]
        if wrong.any():
            i, step = wrong.nonzero()[0].tolist()
            raise DataError(
                f"[{i}] in {split} has NaN in step {step}, or before it: padding is whole steps of NaN after the last of data"
            )


def _is_padded(x: Tensor | Lazy) -> TypeGuard[Tensor]:
    return isinstance(x, Tensor) and x.dim() == 3 and x.is_floating_point() and bool(x.isnan().any())


def check_labels(context: Context, data: Data) -> None:
    """Check that a conditional model's context knows every label.

    Raises:
        DataError: where there are no labels.
        ConfigError: where the context has too few classes.
    """
    if context.out_shape == (0,):
        return
    for split in SPLITS:
        examples = getattr(data, split)
        y = examples.y
        if isinstance(examples.x, Stream) and examples.x.shards.classes:  # whose labels are checked as they come
            y = torch.arange(examples.x.shards.classes)
        if y is None:
            raise DataError(f"context {context.name!r} needs labels, and {data.info.name} has none in its {split} split")
        try:
            context.parse(y.unique(), len(y.unique()), data.info.classes)
        except ConfigError as error:
            raise ConfigError(f"{data.info.name} has {len(data.info.classes)} classes: {error}") from None


FIRST_OF_STREAM = 1000
"""Examples of a stream that are looked at before training."""

Place = Callable[[int], str]


def _split(likelihood: Likelihood, examples: Examples, split: str, drawn: bool) -> str:
    if drawn:
        return _check(likelihood, torch.tensor([0.0, 1.0]), lambda i: "", split)
    if isinstance(examples.x, Stream):
        return _check_stream(likelihood, examples.x, split)
    x = examples.x
    of_bytes = (x if isinstance(x, Tensor) else x.read(0)).dtype == torch.uint8
    levels = torch.arange(256) / 255
    if of_bytes and bool(_inside(likelihood.support, levels).all()):
        return ""
    settled = of_bytes and bool(_scored(likelihood, levels).all())  # whatever comes after the first remark
    remark = ""
    for values, place in _held(x, examples) if isinstance(x, Tensor) else _lazy(x, examples):
        found = _check(likelihood, values, place, split)
        remark = remark or found
        if remark and settled:
            break
    return remark


def _held(x: Tensor, examples: Examples) -> Iterator[tuple[Tensor, Place]]:
    """Values in pieces, the distinct ones where they are bytes, with a function that says where one of them is."""
    flat = x.reshape(-1)
    if _is_padded(x):
        there = mask(flat).nonzero()[:, 0]
        for piece in there.split(_PIECE):
            yield flat[piece], lambda i, piece=piece: _index(examples, int(piece[i]))  # type: ignore[misc]
        return
    for start, piece in zip(range(0, len(flat), _PIECE), flat.split(_PIECE), strict=True):
        if x.dtype == torch.uint8:
            levels = torch.bincount(piece, minlength=256).nonzero()[:, 0]

            def place(i: int, start: int = start, piece: Tensor = piece, levels: Tensor = levels) -> str:
                return _index(examples, start + int((piece == levels[i]).nonzero()[0]))

            yield levels / 255, place
        else:
            yield piece, lambda i, start=start: _index(examples, start + i)  # type: ignore[misc]


_PIECE = 2**20


def _lazy(x: Lazy, examples: Examples) -> Iterator[tuple[Tensor, Place]]:
    """Values example by example, likewise."""
    for number, stored in enumerate(ahead(x.read, range(len(x)), x.workers)):
        start = number * stored.numel()
        values = (stored.float() / 255 if stored.dtype == torch.uint8 else stored).reshape(-1)
        yield values, lambda i, start=start: _index(examples, start + i)  # type: ignore[misc]


def _check_stream(likelihood: Likelihood, x: Stream, split: str) -> str:
    """Reads the first examples, where it depends on them; the others are checked as they are read for training."""
    of_bytes = x.example.dtype == torch.uint8
    levels = torch.arange(256) / 255 if of_bytes else torch.tensor(_ANY)
    if bool(_inside(likelihood.support, levels).all()):
        return ""

    def remark(example: Tensor, where: str) -> str:
        values = (example.float() / 255 if of_bytes else example).reshape(-1)
        return _check(likelihood, values, lambda i: f", {where}, at {_place(i, example)}", split)

    def check(example: Tensor, where: str) -> None:
        remark(example, where)

    x.checks[:] = [] if of_bytes and bool(_scored(likelihood, levels).all()) else [check]
    first = (remark(example, f"number {i} of the stream") for i, (example, _) in enumerate(islice(x.each(), FIRST_OF_STREAM)))
    return next(filter(None, first), "")


def _place(flat: int, example: Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), example.shape))


_ANY = (-3e38, -1.5, -0.3, 0.0, 1e-30, 0.3, 1.0, 2.7, 3e38)  # what all is inside of is the real line: decoding finds the rest


def _index(examples: Examples, flat: int) -> str:
    first, *rest = (int(i) for i in torch.unravel_index(torch.tensor(flat), (len(examples), *examples.shape)))
    source = "" if examples.numbers is None else f", number {int(examples.numbers[first])} of the source,"
    return f"[{first}]{source} at {tuple(rest)}"


def _check(likelihood: Likelihood, values: Tensor, place: Place, split: str) -> str:
    def first(mask: Tensor) -> str:
        i = int(mask.nonzero()[0])
        return f"{values[i]:g} in {split}{place(i)}"

    finite = torch.isfinite(values)
    if not finite.all():
        raise DataError(f"{first(~finite)} is not finite")
    supported = _inside(likelihood.support, values)
    if supported.all():
        return ""
    scored = _scored(likelihood, values)
    if not scored.all():
        raise DataError(f"{first(~scored)} is outside the support of likelihood {likelihood.name!r} ({likelihood.support})")
    return (
        f"{first(~supported)} is outside the support of likelihood {likelihood.name!r}, which scores it all the same: "
        "the numbers are of a pseudo-likelihood, no bound (data.binarize=dynamic makes them one)"
    )


def _scored(likelihood: Likelihood, values: Tensor) -> Tensor:
    supported = _inside(likelihood.support, values)
    return supported if likelihood.pseudo_support is None else supported | _inside(likelihood.pseudo_support, values)


def _inside(support: Constraint, values: Tensor) -> Tensor:
    inside: Tensor = support.check(values)
    return inside
