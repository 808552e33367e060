"""`vaekit serve`, and `vaekit-serve` where vaekit is not installed."""

import sys
from typing import Annotated

import typer

from vaekit_runtime.command import exits
from vaekit_runtime.errors import InputError
from vaekit_runtime.service.limits import Limits


def serve(
    model: Annotated[
        str,
        typer.Argument(help="An exported folder or .onnx file; or a run, a model folder, latest or a repo on the Hub."),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on; on others than this machine's all who reach it may use it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 for any that is free.", min=0, max=65535)] = 8000,
    max_batch: Annotated[int, typer.Option(help="Examples that are computed at once.", min=1, max=65536)] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(help="Milliseconds that an example waits for others at most.", min=0, max=10_000)
    ] = 2.0,
    queue: Annotated[int, typer.Option(help="Examples that are taken at a time.", min=1, max=10**6)] = 1024,
    max_bytes: Annotated[int, typer.Option(help="Of the body of one request.", min=1024, max=2**30)] = 8 * 2**20,
    max_examples: Annotated[int, typer.Option(help="Of one request.", min=1, max=10**6)] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds in which an answer is computed.", min=0.1, max=3600)] = 30.0,
    patience: Annotated[
        float, typer.Option(help="Seconds in which a request is sent, and each part of an answer taken.", min=1, max=3600)
    ] = 15.0,
    grace: Annotated[
        float, typer.Option(help="Seconds in which all that was taken is answered, on SIGTERM or Ctrl-C.", min=0, max=3600)
    ] = 20.0,
    threads: Annotated[
        int | None, typer.Option(help="That compute one batch.  [default: as many as there are cores]", min=1, max=1024)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="That a trained model computes on: cpu, cuda, auto.  [default: cpu]")
    ] = None,
) -> None:
    """Answer encode, decode, sample and reconstruct over HTTP."""
    with exits():
        limits = Limits(max_batch, max_wait_ms / 1000, queue, max_bytes, max_examples, timeout, patience, grace)
        _serve(model, host, port, limits, threads, device)


def main() -> None:
    """`vaekit-serve`."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command("vaekit-serve", context_settings={"help_option_names": ["-h", "--help"]})(serve)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)


def _serve(model: str, host: str, port: int, limits: Limits, threads: int | None, device: str | None) -> None:
    try:
        from vaekit_runtime.service.app import Service
        from vaekit_runtime.service.listening import bound
        from vaekit_runtime.service.listening import serve as run
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing, which serving needs: pip install 'vaekit-runtime[serve]'") from None
    from vaekit_runtime.service.opening import open_model

    with bound(host, port) as listening:
        run(Service(open_model(model, threads, device), limits), listening, typer.echo)
