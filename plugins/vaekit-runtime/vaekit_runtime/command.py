"""`vaekit predict`, and `vaekit-predict` where there is no vaekit: what an exported model makes of files.

Results go to standard output, messages to standard error. Exit codes: 0 done; 1 failed; 2 the command is wrong; 130 stopped by
Ctrl-C. What computes is imported when something is to be computed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from vaekit_runtime.errors import InputError, PredictError

What = Literal["encode", "decode", "reconstruct", "sample"]


def predict(
    exported: Annotated[Path, typer.Argument(help="A folder that vaekit export wrote, or an .onnx file of it.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Image files, or arrays of examples or codes as .npy or .npz.")
    ] = None,
    what: Annotated[
        What | None,
        typer.Option(
            help="What to do.  [default: encode the inputs, or decode them where there is no encoder; sample without]"
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many to sample.  [default: 64]", min=1, max=10_000)] = None,
    label: Annotated[str | None, typer.Option(help="A class, for a conditional model.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of a standard normal prior.  [default: 1]")] = None,
    seed: Annotated[int | None, typer.Option(help="What the draws depend on.  [default: 0]", min=0, max=2**32 - 1)] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The file to write: images as .png or .npy, codes as .csv, .json or .npy.  [codes: printed as CSV]"),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="How many inputs to read at once.", min=1, max=65_536)] = 64,
    threads: Annotated[int | None, typer.Option(help="That compute.  [default: one a core]", min=1, max=1024)] = None,
    info: Annotated[bool, typer.Option("--info", help="Print what the files say of themselves, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --info: as JSON.")] = False,
) -> None:
    """Codes, reconstructions and new images from an exported model, without torch."""
    with exits():
        if as_json and not info:
            raise InputError("--json is for --info; codes are written as JSON with --output codes.json")
        if info:
            names = ("INPUTS", "--what", "-n", "--label", "--temperature", "--seed", "--output")
            _check_alone(names, (inputs or None, what, n, label, temperature, seed, output))
            from vaekit_runtime import describing

            describing.show(exported, as_json)
            return
        from vaekit_runtime import predicting

        drawn = predicting.Sampling(n, temperature, seed)
        predicting.run(exported, inputs or [], what, drawn, label, output, batch_size, threads)


def _check_alone(names: Sequence[str], values: Sequence[object]) -> None:
    """Whether nothing else is asked together with --info."""
    others = [name for name, value in zip(names, values, strict=True) if value is not None]
    if others:
        raise InputError(f"--info prints what the files say, and nothing is computed: leave out {', '.join(others)}")


@contextmanager
def exits() -> Iterator[None]:
    """A block whose errors are one line on standard error, and an exit code."""
    try:
        yield
    except PredictError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
    except MemoryError:
        typer.echo("error: there is not enough memory: ask for fewer at once", err=True)
        raise typer.Exit(1) from None


def main() -> None:
    """`vaekit-predict`."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command("vaekit-predict", context_settings={"help_option_names": ["-h", "--help"]})(predict)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which Python would try to flush at the end
        sys.exit(1)
