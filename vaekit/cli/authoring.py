"""`vaekit new-plugin`: for those who write parts."""

from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(help="Of the package, such as vaekit-bar, which brings a part named bar.")],
    kind: Annotated[str, typer.Option(help="encoder, latent, prior, decoder, likelihood, loss, context or dataset.")],
    output: Annotated[str, typer.Option(help="The folder to make the package's folder in.")] = ".",
    author: Annotated[str | None, typer.Option(help="Whom the licence names.  [default: the NAME authors]")] = None,
) -> None:
    """Write an installable package with a part that works, or a data set, and with its tests."""
    import shlex

    from vaekit import scaffold

    made = scaffold.new_plugin(name, kind, output, author)
    part = scaffold.part_name(name)
    typer.echo(made)
    typer.echo("try next", err=True)
    for line in (
        f"cd {shlex.quote(str(made))}",
        "pip install -e . --group dev",
        "pytest",
        f"vaekit check {name}",
        f"vaekit train {part}" if kind == "dataset" else f"vaekit train digits {kind}={part}",
    ):
        typer.echo(f"  {line}", err=True)
