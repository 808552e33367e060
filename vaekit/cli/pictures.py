"""`vaekit figures`: every picture that there is of a model."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import models
from vaekit.errors import CheckpointError, ConfigError, ShapeError, VaekitError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

    from vaekit.figures import Posteriors
    from vaekit.model import VAE
    from vaekit.runs import Run


def figures(
    model: models.Model,
    data: Annotated[str | None, typer.Argument(help="A data set.  [default: the one the model was trained on]")] = None,
    only: Annotated[str | None, typer.Option(help="Names of figures, with commas between.  [default: all that apply]")] = None,
    output: Annotated[str | None, typer.Option(help="The folder to write to.  [default: the run's figures, or here]")] = None,
    data_root: models.DataRoot = None,
    seed: Annotated[int, typer.Option(help="What the draws depend on.", min=0, max=2**32 - 1)] = 0,
    example: Annotated[int, typer.Option(help="The test example that figures of one begin from.", min=0)] = 0,
    perplexity: Annotated[float, typer.Option(help="Of t-SNE; lowered for few examples.", min=1.0)] = 30.0,
) -> None:
    """Every picture there is of a model and its test set."""
    names = _asked(only)
    from vaekit import io
    from vaekit.figures import save, save_gif
    from vaekit.runs import Run

    run = io.run_of(model)
    weights = Run(run).weights if run else None  # those of a run that is still training may change meanwhile
    loaded = io.load(model)
    needed = any(name not in _WITHOUT_DATA for name in names)
    x, y, classes, place = _test(model, loaded, data, data_root, example) if needed else (None, None, (), 0)
    shown = _Shown(loaded, x, y, classes, Run(run).metrics if run else [], seed, place, example, perplexity)
    folder = Path(output) if output else run / "figures" if run else Path("figures")
    written = []
    for name in names:
        try:
            picture = _FIGURES[name](shown)
        except VaekitError as error:
            typer.echo(f"no {name}: {error}", err=True)
            continue
        if name == "animation":
            target, rests = folder / "interpolation.gif", range(0, len(picture), _LEG)
            written.append(save_gif(picture, target, 0.04 * len(picture), at_least=160, back=False, rests=rests))
        else:
            written.append(save(picture, folder / f"{name}.png"))
        typer.echo(written[-1])
    if not written:
        raise ConfigError("none of these figures is of such a model")
    if run and data is None and output is None:
        _keep(Run(run), written, weights)


def _keep(run: "Run", written: list[Path], weights: str | None) -> None:
    """Note in the run of which weights the pictures are, for the card that goes with the model to the Hub."""
    try:
        run.drew(written, weights)
    except CheckpointError as error:
        typer.echo(f"note: {error}", err=True)


def _asked(only: str | None) -> list[str]:
    if only is None:
        return list(_FIGURES)
    names = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    for name in names:
        if name not in _FIGURES:
            raise ConfigError(f"no figure {name!r}{suggestion(name, _FIGURES)} (there are: {', '.join(_FIGURES)})")
    if not names:
        raise ConfigError(f"--only names no figure (there are: {', '.join(_FIGURES)})")
    return names


def _test(
    model: str, loaded: "VAE", data: str | None, root: str | None, example: int
) -> tuple["Tensor", "Tensor | None", tuple[str, ...], int]:
    """At most 5,000 of the test set, the example of that number among them, and its place there."""
    import torch

    from vaekit import inputs
    from vaekit.data.batches import Batches
    from vaekit.data.check import check_labels
    from vaekit.data.subset import some

    found = inputs.data_of(model, loaded, data, root)
    if found.shape != loaded.data_shape:
        raise ShapeError(f"{found.info.name} has examples of shape {found.shape}, this model takes {loaded.data_shape}")
    check_labels(loaded.context, found)
    if example >= len(found.test):
        there = f"the test set has {len(found.test):,}, 0 to {len(found.test) - 1}"
        raise ConfigError(f"there is no example {example}: {there}")
    numbers = some(len(found.test), _MOST)
    if example not in numbers:
        numbers = torch.cat([numbers[1:], torch.tensor([example])]).sort().values
    x, y = next(iter(Batches(found.test.take(numbers), len(numbers))))
    return x, y, found.info.classes, int((numbers == example).nonzero())


@dataclass
class _Shown:
    """What figures are of: examples x of the test set; and one of them, by its place there and its number in the test set."""

    model: "VAE"
    x: Any
    y: Any
    classes: tuple[str, ...]
    metrics: list[dict[str, Any]]
    seed: int
    place: int
    example: int
    perplexity: float

    @property
    def told(self) -> Any:
        """The labels that the model is told."""
        return self.y if self.model.conditional else None

    @cached_property
    def posteriors(self) -> "Posteriors":
        from vaekit.figures import Posteriors

        return Posteriors.of(self.model, self.x, self.told, self.seed)

    def others(self, n: int) -> list[int]:
        """The place of the example, and of at most n - 1 more: of one class each as long as there are such."""
        if len(self.x) < 2:
            raise ConfigError("an interpolation is between two examples")
        order = [(self.place + i) % len(self.x) for i in range(len(self.x))]
        if self.y is None:
            return order[:n]
        first = {int(self.y[i]): i for i in reversed(order)}
        fresh = [i for i in order if first[int(self.y[i])] == i]
        return [*fresh, *(i for i in order[: n + len(fresh)] if i not in fresh)][:n]

    @property
    def images(self) -> "VAE":
        """The model, where its data can be shown."""
        from vaekit.figures import drawable

        if not drawable(self.model.data_shape):
            raise ShapeError(f"data of shape {self.model.data_shape} cannot be shown as images")
        return self.model


def _curves(s: _Shown) -> Any:
    from vaekit.figures import curves_of

    return curves_of(_metrics(s))


def _samples(s: _Shown) -> Any:
    from vaekit.figures import samples

    return samples(s.images, seed=s.seed)


def _reconstructions(s: _Shown) -> Any:
    from vaekit.data.subset import some
    from vaekit.figures import reconstructions

    shown = some(len(s.x), 50)
    return reconstructions(s.images, s.x[shown], None if s.told is None else s.told[shown])


def _manifold(s: _Shown) -> Any:
    from vaekit.figures import manifold

    return manifold(s.images)


def _codes(s: _Shown) -> Any:
    from vaekit.figures import scatter

    return scatter(s.posteriors.code, s.y, s.classes, seed=s.seed)


def _tsne(s: _Shown) -> Any:
    from vaekit.figures import scatter

    if s.posteriors.code.shape[1] < 3:
        raise ConfigError("t-SNE is for codes of three dimensions or more; see codes")
    perplexity = max(1.0, min(s.perplexity, float((len(s.x) - 1) // 3)))
    return scatter(s.posteriors.code, s.y, s.classes, "tsne", perplexity, s.seed)


def _thumbnails(s: _Shown) -> Any:
    from vaekit.figures import Posteriors, thumbnails

    return thumbnails(Posteriors.of(s.images, s.x, s.told, s.seed).code, s.x, s.y, s.classes, seed=s.seed)


def _traversals(s: _Shown) -> Any:
    from vaekit.figures import traversals

    return traversals(s.images, s.x, s.told, s.place, seed=s.seed, number=s.example)


def _kl(s: _Shown) -> Any:
    from vaekit.figures import kl_bars

    if s.posteriors.kl is None:
        raise ConfigError("KL is not a sum over dimensions here")
    return kl_bars(s.posteriors.kl)


def _classes(s: _Shown) -> Any:
    from vaekit.figures import by_class

    return by_class(s.images, seed=s.seed)


def _rate_distortion(s: _Shown) -> Any:
    """The way of a run through its epochs on the validation set, some of which are named."""
    from vaekit.figures import rate_distortion

    rows = [{**row, "kl": row.get("kl", row.get("kl_mc"))} for row in _metrics(s) if "reconstruction" in row]
    way = [row for row in rows if row["split"] == "validation" and row["kl"] is not None]
    if not way:
        raise ConfigError("the run has no KL of the validation set")
    last = way[-1]["epoch"]
    named = {way[0]["epoch"], last, *(epoch for epoch in (10, 30, 100, 300) if epoch < 0.7 * last)}
    points = [(r["kl"], r["reconstruction"], f"epoch {r['epoch']}" if r["epoch"] in named else "") for r in way]
    return rate_distortion(points, connect=True)


def _kl_surface(s: _Shown) -> Any:
    from vaekit.data.subset import some
    from vaekit.figures import kl_surface

    if s.model.prior.name != "normal" or s.posteriors.mean is None:
        raise ConfigError("the surface is of normal posteriors and the standard normal prior")
    shown = some(len(s.x), 500)
    return kl_surface(s.posteriors.mean[shown], _of(s.posteriors.log_variance)[shown], s.posteriors.kl)


def _arithmetic(s: _Shown) -> Any:
    """From the second class that there is to the first, from an example of the third."""
    from vaekit.figures import arithmetic

    if s.model.conditional or s.y is None or len(s.y.unique()) < 3:
        raise ConfigError("arithmetic here is of three classes that the model is not told")
    first, second, third = (int(i) for i in s.y.unique()[:3])
    a, b, c = s.x[s.y == first], s.x[s.y == second], s.x[s.y == third][:1]
    return arithmetic(s.images, a, b, c, [s.classes[i] if i < len(s.classes) else str(i) for i in (first, second, third)])


def _interpolation(s: _Shown) -> Any:
    """Between two test examples, of different classes where there are any."""
    from vaekit.figures import interpolation

    a, b = s.others(2)
    return interpolation(s.images, s.x[a], s.x[b], y=None if s.told is None else s.told[[a, b]])


def _animation(s: _Shown) -> Any:
    """Through four test examples, of different classes as far as there are any, and back."""
    from vaekit.figures import loop

    way = s.others(4)
    return loop(s.images, s.x[way], None if s.told is None else s.told[way], _LEG)


def _shift(s: _Shown) -> Any:
    from vaekit.figures import shift

    return shift(s.model, s.x, s.told, s.place, seed=s.seed, number=s.example)


def _metrics(s: _Shown) -> list[dict[str, Any]]:
    if not s.metrics:
        raise ConfigError("there are metrics in runs alone")
    return s.metrics


def _of(found: Any) -> Any:
    assert found is not None
    return found


_FIGURES: dict[str, Callable[[_Shown], Any]] = {
    "curves": _curves,
    "samples": _samples,
    "classes": _classes,
    "reconstructions": _reconstructions,
    "interpolation": _interpolation,
    "animation": _animation,
    "arithmetic": _arithmetic,
    "manifold": _manifold,
    "codes": _codes,
    "tsne": _tsne,
    "thumbnails": _thumbnails,
    "traversals": _traversals,
    "shift": _shift,
    "kl": _kl,
    "kl-surface": _kl_surface,
    "rate-distortion": _rate_distortion,
}
_MOST = 5000
"""Test examples that figures are of, drawn at random: a test set may be sorted by class."""
_LEG = 25
"""Frames of the animation from one example to the next."""
_WITHOUT_DATA = ("curves", "samples", "classes", "manifold", "rate-distortion")
