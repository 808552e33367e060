"""The command line: thin, and quick to start because every command imports what it needs itself.

Results go to standard output, progress and messages to standard error. Exit codes: 0 done; 1 failed; 2 the command or the
config is wrong; 130 stopped by Ctrl-C.
"""

import sys
import warnings
from typing import Annotated

import typer

from vaekit.cli import authoring, catalog, checking, evaluating, models, pictures, reproducing, sharing, sweeping, training
from vaekit.cli.commands import Commands
from vaekit.errors import ConfigError, ShapeError, UnknownPart, VaekitError
from vaekit.launch import speaks

app = typer.Typer(
    name="vaekit",
    cls=Commands,
    help="Variational autoencoders made of parts.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # square brackets in help are square brackets
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(training.train)
app.command()(training.resume)
app.command()(sweeping.sweep)
app.command()(evaluating.evaluate)
app.command()(evaluating.classifier)
app.command()(reproducing.reproduce)
app.command()(pictures.figures)
app.command()(models.sample)
app.command()(models.reconstruct)
app.command()(models.interpolate)
app.command()(models.info)
app.command()(models.pull)
app.command()(sharing.push)
app.command()(catalog.parts)
app.command()(catalog.plugins)
app.command()(catalog.data)
app.command()(catalog.recipes)
app.command()(checking.check)
app.command()(authoring.new_plugin)


def _version(asked: bool) -> None:
    if asked:
        import vaekit

        typer.echo(f"vaekit {vaekit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command, and turn errors into one line and an exit code."""
    warnings.formatwarning = lambda message, *_, **__: f"note: {message}\n"
    try:
        app()
    except VaekitError as error:
        asked_wrongly = isinstance(error, ConfigError | UnknownPart | ShapeError)
        if speaks() or not asked_wrongly:  # which every rank of a job is
            typer.echo(f"error: {error}", err=True)
        sys.exit(2 if asked_wrongly else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
