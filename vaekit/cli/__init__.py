"""The command line: thin, and quick to start because every command imports what it needs itself.

Results go to standard output, progress and messages to standard error. Exit codes: 0 done; 1 failed; 2 the command or the
config is wrong; 130 stopped by Ctrl-C.
"""

import errno
import os
import sys
import warnings
from contextlib import suppress
from typing import Annotated, TextIO

import typer

from vaekit.cli import (
    authoring,
    catalog,
    checking,
    evaluating,
    exporting,
    models,
    overrides,
    pictures,
    refitting,
    reproducing,
    sharing,
    sweeping,
    training,
)
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
app.command()(refitting.refit)
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
app.command()(exporting.export)
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
            _complain(overrides.as_typed(str(error)))
        sys.exit(2 if asked_wrongly else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        _complain(f"the output cannot be written: {error.strerror}")
        _let_go(sys.stdout)
        sys.exit(1)
    finally:
        _let_go(sys.stderr)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _complain(text: str) -> None:
    with suppress(OSError):
        typer.echo(f"error: {text}", err=True)


def _let_go(stream: TextIO | None) -> None:
    """Where a stream takes nothing more, forget what it has not taken, which Python would try to write at the end."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
