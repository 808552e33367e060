"""`vaekit sample`, `reconstruct`, `interpolate`, `info` and `pull`: what is done with a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, short

if TYPE_CHECKING:
    from torch import Tensor

    from vaekit.model import VAE

Model = Annotated[str, typer.Argument(help="A run, a model folder, latest, or a repo on the Hub.")]
DataRoot = Annotated[str | None, typer.Option(help="Where data sets are.  [env: VAEKIT_DATA]")]
Output = Annotated[str | None, typer.Option(help="The file to write.  [default: in the run's figures, or here]")]
Label = Annotated[str | None, typer.Option(help="A class, for a conditional model.")]


def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", help="How many.", min=1, max=10_000)] = 64,
    label: Label = None,
    seed: Annotated[int, typer.Option(help="What the draws depend on.", min=0, max=2**32 - 1)] = 0,
    temperature: Annotated[float, typer.Option(help="Of a Gaussian prior.")] = 1.0,
    draw: Annotated[bool, typer.Option("--draw", help="Draw x rather than take its mean.")] = False,
    output: Output = None,
) -> None:
    """A picture of new images."""
    import math

    from vaekit import figures, io
    from vaekit.blocks import afforded

    loaded = io.load(model)
    with afforded(loaded.data_shape):
        images = loaded.sample(n, y=label, temperature=temperature, draw=draw, seed=seed)
        picture = figures.grid(images, columns=math.ceil(math.sqrt(n)))
    _write(picture, model, output, f"sample-seed{seed}{f'-{_file_name(label)}' if label else ''}.png")


def reconstruct(
    model: Model,
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Image files.  [default: from the test set]"),
    ] = None,
    label: Label = None,
    n: Annotated[int, typer.Option("-n", help="How many of the test set.", min=1, max=10_000)] = 50,
    data_root: DataRoot = None,
    output: Output = None,
) -> None:
    """A picture of images above their reconstructions."""
    from vaekit import figures, io
    from vaekit.blocks import afforded

    loaded = io.load(model)
    if images:
        import torch

        from vaekit import inputs

        x, y = torch.cat([inputs.image(path, loaded) for path in images]), label
    else:
        x, y = _examples(model, loaded, data_root, slice(0, n))
        if label is not None:
            raise ConfigError("--label is for images of your own: those of the test set have labels")
    with afforded(loaded.data_shape):
        picture = figures.reconstructions(loaded, x, y, min(10, len(x)))
    _write(picture, model, output, "reconstruct.png")


def interpolate(
    model: Model,
    a: Annotated[str, typer.Argument(help="An image file, or the number of a test example.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    steps: Annotated[int, typer.Option(help="Images on the way, both ends counted.", min=2, max=1000)] = 10,
    gif: Annotated[bool, typer.Option("--gif", help="Write an animation.")] = False,
    label: Label = None,
    data_root: DataRoot = None,
    output: Output = None,
) -> None:
    """A picture of the way from one image to another through the latent space."""
    if output is not None and gif != (Path(output).suffix.lower() == ".gif"):
        raise ConfigError(f"{output!r}: an animation is a .gif file" if gif else f"{output!r}: --gif writes an animation")
    from vaekit import figures, io

    loaded = io.load(model)
    ends, labels = zip(*(_end(text, model, loaded, data_root) for text in (a, b)), strict=True)
    known = [y for y in labels if y is not None]
    y = label if label is not None else [known[0], known[-1]] if known else None
    if gif:
        path = loaded.interpolate(ends[0], ends[1], steps, y)
        target = _target(model, output, "interpolate.gif")
        typer.echo(figures.save_gif([figures.grid(image[None], 1) for image in path], target))
    else:
        _write(figures.interpolation(loaded, ends[0], ends[1], steps, y), model, output, "interpolate.png")


def info(model: Model, as_json: Json = False) -> None:
    """Config, sizes, parameters by part, metrics and plugins of a model; its weights are not read."""
    from vaekit import io
    from vaekit.config import DEFAULTS
    from vaekit.runs import Run

    seen = io.look(model)
    config, counts = seen.config, seen.parameters
    run = io.run_of(model)
    rows = Run(run).metrics if run else []
    latest = {row["split"]: row for row in rows}
    if as_json:
        numbers = {"config": config.model_dump(mode="json"), "parameters": counts, "metrics": latest, "source": seen.source}
        there = {"bytes": seen.bytes, "missing": seen.missing, "lacking": seen.lacking, "installed": seen.installed}
        reported = [{"dataset": name, "metric": metric, "value": value} for name, metric, value in seen.reported]
        show.document({**numbers, **there, "reported": reported})
        return
    table: list[tuple[Any, ...]] = [("source", seen.source), ("data", f"{tuple(config.data_shape)}{_about(config)}")]
    if run is not None and (start := Run(run).record.get("start")):
        table.append(("refit of", f"{start}, all of which but the prior is as it was"))
    for kind in DEFAULTS:
        options = " ".join(f"{kind}.{name}={value}" for name, value in config.part(kind).items() if name != "name")
        size = f"{counts[kind]:,} parameters" if counts.get(kind) else ""
        here = "not installed" if kind in seen.missing else ""
        table.append((kind, "  ".join(filter(None, (str(config.part(kind)["name"]), here, size, short(options, 500))))))
    size = f"{sum(counts.values()):,} of {config.dtype}, {seen.bytes:,} bytes" if counts else "not known: parts are missing"
    table.append(("parameters", size))
    if seen.lacking:
        table.append(("weights", f"none that vaekit reads: {seen.lacking}"))
    table.append(("plugins", ", ".join(_package(name, saved, seen.installed[name]) for name, saved in config.plugins.items())))
    for split, row in latest.items():
        terms = "  ".join(f"{name} {row[name]:.2f}" for name in ("nelbo", "reconstruction", "kl") if name in row)
        table.append((split, f"epoch {row['epoch']}  {terms}"))
    for dataset, metric, value in seen.reported:
        table.append(("reported", f"{metric} {value:g}  {dataset}"))
    for kind, cure in seen.missing.items():
        table.append(("missing", cure if kind != "loss" else f"{cure}; needed to train on, not to load"))
    show.table(table)


def _package(name: str, saved: str, installed: str | None) -> str:
    """A package that a model was saved with, and what there is of it here."""
    here = "" if installed == saved else f" ({installed or 'not'} installed)"
    return f"{name} {saved}{here}"


def pull(
    repo: Annotated[str, typer.Argument(help="A repo on the Hub: user/model or user/model@revision.")],
    folder: Annotated[str | None, typer.Argument(help="The folder to write.  [default: the model's name]")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit.")] = None,
) -> None:
    """Fetch a model from the Hugging Face Hub, check all of it, and write it as a model folder."""
    from vaekit import io

    typer.echo(io.pull(repo, folder, revision=revision, note=lambda text: typer.echo(f"note: {text}", err=True)))


def _file_name(label: str) -> str:
    """A label from a stranger's model, as part of a file's name."""
    return "".join(character if character.isalnum() else "-" for character in label)[:40]


def _about(config: Any) -> str:
    return f"  {config.data.name}, {config.data.examples:,} training examples" if config.data else ""


def _examples(model: str, loaded: "VAE", root: str | None, which: slice) -> tuple["Tensor", Any]:
    import torch

    from vaekit import inputs
    from vaekit.data.batches import Batches

    test, _ = inputs.examples_of(model, loaded, root=root)
    x, y = next(iter(Batches(test.take(torch.arange(len(test))[which]), len(test))))
    return x, (y if loaded.conditional else None)


def _end(text: str, model: str, loaded: "VAE", root: str | None) -> tuple["Tensor", Any]:
    if not text.isdecimal():
        from vaekit import inputs

        return inputs.image(text, loaded)[0], None
    x, y = _examples(model, loaded, root, slice(int(text), int(text) + 1))
    if not len(x):
        raise ConfigError(f"the test set has no example {text}")
    return x[0], None if y is None else y[0]


def _target(model: str, output: str | None, name: str) -> Path:
    from vaekit import io

    run = io.run_of(model)
    return Path(output) if output else (run / "figures" / name if run else Path(name))


def _write(picture: Any, model: str, output: str | None, name: str) -> None:
    from vaekit import figures

    typer.echo(figures.save(picture, _target(model, output, name)))
