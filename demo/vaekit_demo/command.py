"""`vaekit demo`: opens models in the browser."""

from typing import Annotated

import typer


def demo(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Runs, model folders, latest, or repos on the Hub; one or several.")
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on; on others than this machine's all who reach it may use it.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="The port to listen on.  [default: the first that is free from 7860]", min=1, max=65535)
    ] = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Be an MCP server too.")] = False,
    data_root: Annotated[str | None, typer.Option(help="Where data sets are.  [env: VAEKIT_DATA]")] = None,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Offer no training, which is for this machine's own address; as behind a proxy.")
    ] = False,
) -> None:
    """Explore models in the browser: the latent map, reconstructions, samples, and the ways between images."""
    from vaekit_demo.importing import uncollected

    with uncollected():
        from vaekit_demo import launch
    launch(models, host=host, port=port, mcp=mcp, data_root=data_root, train=not no_train)
