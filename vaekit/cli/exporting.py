"""`vaekit export`: a model as programs that need no vaekit, or as a page that needs no server."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import models, show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, PluginError, VaekitError

if TYPE_CHECKING:
    from torch import Tensor

    from vaekit.export import Exported
    from vaekit.model import VAE

GROUP = "vaekit.exports"
"""Of entry points that name what writes something else than programs."""


def export(
    model: models.Model,
    output: Annotated[str, typer.Option(help="The folder to write; it must not be there yet.")],
    format: Annotated[str | None, typer.Option(metavar="torch|onnx", help="What programs to write.")] = None,
    web: Annotated[bool, typer.Option("--web", help="Write a page that explores the model in a browser, by itself.")] = False,
    parts: Annotated[str, typer.Option(help="Which halves, with a comma between.")] = "encode,decode",
    precision: Annotated[
        str, typer.Option(metavar="float32|float16|int8", help="Of the weights in ONNX; what it costs is measured.")
    ] = "float32",
    light: Annotated[
        bool, typer.Option("--light", help="With --web: pictures alone, of a model of two latent dimensions.")
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="With --web: the npm package onnxruntime-web 1.30.0, its .tgz or a folder of its files, not fetched."
        ),
    ] = None,
    data_root: models.DataRoot = None,
    as_json: Json = False,
) -> None:
    """A model for where there is no vaekit: torch.export, ONNX, or a page for the browser; each checked against the model."""
    halves = [part.strip() for part in parts.split(",") if part.strip()]
    if format is None and not web:
        raise ConfigError("what to export: give --format torch, --format onnx or --web")
    if format is None and (precision != "float32" or set(halves) != {"encode", "decode"}):
        raise ConfigError(f"{'--precision' if precision != 'float32' else '--parts'} is for --format")
    if not web and (light or runtime is not None):
        raise ConfigError(f"{'--light' if light else '--runtime'} is for --web")
    site = _site() if web else None
    from vaekit import export as exporting
    from vaekit import io
    from vaekit.stopping import unwound

    if format is not None:
        exporting.check(format, halves, precision)
    exporting.check_free(output)
    loaded = io.load(model)
    written: list[Exported] = []
    pages: list[Path] = []
    with unwound(), exporting.appearing(output) as folder:
        if format is not None:
            examples, name = _examples(model, loaded, data_root), io.title(model)
            written = exporting.fill(
                loaded, folder, format=format, parts=halves, precision=precision, name=name, examples=examples
            )
        if site is not None:
            page = folder / "web" if written else folder
            page.mkdir(exist_ok=True)
            pages = site(loaded, model, page, runtime=runtime, light=light, data_root=data_root)
    target = Path(output).expanduser()
    _say([done.moved(folder, target) for done in written], [target / path.relative_to(folder) for path in pages], as_json)


def _say(written: "list[Exported]", pages: list[Path], as_json: bool) -> None:
    if as_json:
        programs = [
            {
                "part": done.part,
                "file": str(done.path),
                "bytes": done.bytes,
                "random": done.differences.random,
                "real": done.differences.real,
                "rms": done.differences.rms,
            }
            for done in written
        ]
        show.document({"programs": programs, "pages": [{"file": str(path), "bytes": path.stat().st_size} for path in pages]})
        return
    for done in written:
        found = done.differences
        real = "" if found.real is None else f", {found.real:.1e} on {found.examples} test examples"
        off = f"at most {found.random:.1e} off the model on random inputs{real}; rms {found.rms:.1e}"
        typer.echo(f"{done.path}  {done.bytes:,} bytes  {off}")
    for path in pages:
        typer.echo(f"{path}  {path.stat().st_size:,} bytes")


def _examples(model: str, loaded: "VAE", root: str | None) -> "tuple[Tensor, Tensor | None] | None":
    """Some of the test set, where that is at hand: nothing is downloaded for a check."""
    import torch

    from vaekit import inputs
    from vaekit.data.batches import Batches

    try:
        test, _ = inputs.examples_of(model, loaded, root=root, download=False)
        if test.shape != loaded.data_shape or (loaded.conditional and test.y is None):
            raise ConfigError("its data are not what the model takes")
        x, y = next(iter(Batches(test.take(torch.arange(min(64, len(test)))), 64)))
    except VaekitError as error:
        typer.echo(f"note: compared on random inputs alone, since no test examples are at hand: {error}", err=True)
        return None
    return x, y if loaded.conditional else None


def _site() -> Callable[..., Any]:
    """What writes the page.

    Raises:
        ConfigError: where no package brings it.
        PluginError: where the one that does is out of use.
    """
    from vaekit.packages import entries, function_of, named

    asked = named()
    found = [key for key in entries(GROUP)[0] if key[1] == "web" and (asked is None or key[0] in asked)]
    if not found:
        raise ConfigError('--web comes with vaekit-demo, which is not installed: pip install "vaekit[web]"')
    package, name = min(found)
    try:
        return function_of(package, entries(GROUP)[0][package, name], lambda function: None)
    except PluginError as error:
        raise PluginError(f"what {package} writes pages with is out of use: {error}") from None
