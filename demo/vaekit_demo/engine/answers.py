"""What a page asks of a model, answered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from vaekit import ConfigError, DataError
from vaekit.blocks import drawing
from vaekit.paths import path
from vaekit_demo.engine.pictures import Pictures
from vaekit_demo.engine.plane import Axes, Plane
from vaekit_demo.engine.shown import Shown


@dataclass(frozen=True)
class Input:
    """An example as a model sees it.

    Args:
        x: (1, *shape) as floats.
        y: its class, where that is known.
        number: which of the test set it is, where it is one.
        notes: what was done to it, in sentences.
    """

    x: Tensor
    y: int | None = None
    number: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What a model makes of an example.

    Args:
        given: the example.
        y: the class that the model was told.
        again: its reconstruction, (1, *shape).
        z: the code that this is decoded from, (D,).
        code: the deterministic code, (D,).
        sd: of the posterior in each dimension (D,), where it is a diagonal normal around the code.
        terms: `nelbo`, `reconstruction` and `kl`, in nats, means over 8 draws of z; None where there are none.
        note: what there is to know of the terms.
    """

    given: Input
    y: int | None
    again: Tensor
    z: Tensor
    code: Tensor
    sd: Tensor | None
    terms: dict[str, float] | None
    note: str
    notes: tuple[str, ...] = field(default=())


def random_example(shown: Shown, seed: int, of_class: int | None = None) -> int:
    """The number of a test example, drawn by the seed.

    Raises:
        DataError: where there is none.
    """
    if shown.test is None:
        raise DataError(f"There are no test examples here. {shown.why}")
    there = torch.arange(len(shown.test))
    if of_class is not None and shown.test.y is not None:
        there = there[shown.test.y == of_class]
    if not len(there):
        raise DataError("The test set has no example of that class.")
    return int(there[torch.randint(len(there), (1,), generator=torch.Generator().manual_seed(seed))])


def example(shown: Shown, number: int) -> Input:
    """The test example of a number."""
    x, y = shown.examples(torch.tensor([number]))
    return Input(x, None if y is None else int(y[0]), number)


def told(shown: Shown, given: Input, y: int | None) -> int | None:
    """The class that a model is told of an example: what was asked, else its own.

    Raises:
        ConfigError: where neither is there.
    """
    if not shown.model.conditional:
        return None
    chosen = given.y if y is None else y
    if chosen is None:
        raise ConfigError("This model is told a class: choose one.")
    return chosen


def look(shown: Shown, given: Input, y: int | None = None, seed: int | None = None) -> Look:
    """An example, its code, its reconstruction and its terms.

    Args:
        shown: the model.
        given: the example.
        y: the class that a conditional model is told; the example's own where there is none.
        seed: of the draw of z from the posterior; the code is decoded where there is none.
    """
    label = told(shown, given, y)
    model, where = shown.model, shown.model.context.empty
    x = given.x.to(where.device, torch.promote_types(where.dtype, torch.float32))
    code = model.encode(x, label)
    z = code
    if seed is not None:
        with shown.still(), drawing(seed, where.device):
            z = model(x, shown.context(label, 1)).draw.z[0]
    with shown.still(), drawing(0, where.device):
        trace = model(x, shown.context(label, 1), DRAWS)
        site = trace.draw.sites[0]
        bounded = model.latent.has_density
        rate, distortion = (float(trace.kl().mean()), -float(trace.log_px().mean())) if bounded else (math.nan, math.nan)
    base = site.q.base_dist if isinstance(site.q, Independent) else None
    normal = shown.survey.normal and isinstance(base, Normal)
    terms = {"nelbo": rate + distortion, "reconstruction": distortion, "kl": rate}
    finite = all(map(math.isfinite, terms.values()))
    return Look(
        given,
        label,
        shown.decoded(z, label),
        z.flatten().float().cpu(),
        code.flatten().float().cpu(),
        base.scale.flatten().float().cpu() if normal and isinstance(base, Normal) else None,
        terms if finite else None,
        _said_of(shown, x, bounded, finite),
        given.notes,
    )


DRAWS = 8
"""Of z, over which terms are means."""


def _said_of(shown: Shown, x: Tensor, bounded: bool, finite: bool) -> str:
    if not bounded:
        return "The posterior is a point: there is no bound on log p(x) here."
    likelihood = shown.model.likelihood
    inside = bool(likelihood.support.check(x).all())
    if not finite:
        return f"Likelihood {likelihood.name!r} gives some of these values no probability: there is no bound here."
    if not inside:
        return f"Values between those that likelihood {likelihood.name!r} is of: a pseudo-likelihood, and no true bound."
    return ""


def frames(shown: Shown, a: Tensor, b: Tensor, y: Sequence[int] | int | None, steps: int) -> tuple[Pictures, Tensor]:
    """The way from one code (D,) to another, as pictures and as codes (steps, D).

    Args:
        shown: the model.
        a: where it begins.
        b: where it ends.
        y: the class of a conditional model, or one for each end: the context goes evenly from one to the other.
        steps: pictures, both ends counted.
    """
    if shown.interpolable:
        raise ConfigError(shown.interpolable)
    shown.check(steps)
    ends = shown.at(torch.stack([a, b])).to(shown.model.context.empty.device)
    with shown.still():
        z = path(ends[0], ends[1], steps, shown.model.latent.root)
        labels = None if y is None else torch.tensor([y, y] if isinstance(y, int) else list(y))
        c = shown.context(labels, 2)
        t = torch.linspace(0, 1, steps, device=c.device, dtype=c.dtype)[:, None]
        c = c[:1] + t * (c[1:] - c[:1])
        x = torch.cat([shown.mean(some, told) for some, told in zip(z.split(_AT_ONCE), c.split(_AT_ONCE), strict=True)])
    return shown.pictures(x), z.flatten(1).float().cpu()


_AT_ONCE = 64


def mean_code(shown: Shown, of_class: int) -> Tensor:
    """The mean code of the examples of a class, (D,).

    Raises:
        ConfigError: where there are no classes, or none of that number.
    """
    survey = shown.survey
    if survey.y is None or shown.model.conditional:
        raise ConfigError("Mean codes of classes are of models that are told no class, on data with labels.")
    chosen = survey.y == of_class
    if not chosen.any():
        raise ConfigError(f"There is no example of class {of_class} on the map.")
    return survey.z[chosen].mean(0)


def strips(shown: Shown, z: Tensor, y: int | None, dims: Sequence[int], steps: int) -> tuple[Tensor, Pictures]:
    """A code (D,) with one dimension after the other swept over mean ± 3 standard deviations of the aggregated posterior.

    Where codes are not all over a real space the sweep keeps to where they are, and what else has to change does.

    Returns:
        The values, (len(dims), steps), and the pictures, dimension by dimension.
    """
    if shown.immovable:
        raise ConfigError(shown.immovable)
    if not all(0 <= i < shown.size for i in dims):
        raise ConfigError(f"The dimensions are 0 to {shown.size - 1}.")
    values = torch.stack([_sweep(shown, i, steps) for i in dims])
    codes = z.repeat(len(dims), steps, 1)
    for row, i in enumerate(dims):
        codes[row, :, i] = values[row]
        codes[row] = shown.room.within(codes[row], torch.eye(shown.size)[[i]])
    return values, shown.decode(codes.flatten(0, 1), y)


def _sweep(shown: Shown, i: int, steps: int) -> Tensor:
    reach = shown.reach(i)
    if reach is not None:
        return torch.linspace(*reach, steps)
    return shown.survey.mean[i] + torch.linspace(-3, 3, steps) * shown.survey.sd[i]


def places(shown: Shown, axes: Axes) -> tuple[Plane, Tensor, tuple[float, float, float, float]]:
    """A plane, where the examples lie on it, and left, right, bottom and top of what there is to see."""
    plane = Plane.through(shown, axes)
    found = plane.points(shown.survey)
    low, high = torch.quantile(found.double(), torch.tensor([0.002, 0.998], dtype=torch.float64), dim=0).tolist()
    edges = [0.06 * max(high[i] - low[i], 1e-3) for i in range(2)]
    return plane, found, (low[0] - edges[0], high[0] + edges[0], low[1] - edges[1], high[1] + edges[1])
