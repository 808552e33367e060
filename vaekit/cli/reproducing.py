"""`vaekit reproduce`: published numbers, trained for and measured again."""

from typing import Annotated

import typer

from vaekit.cli import models, show
from vaekit.cli.training import Json, Quiet


def reproduce(
    name: Annotated[str | None, typer.Argument(help="What to reproduce.  [default: say what there is]")] = None,
    epochs: Annotated[int | None, typer.Option(help="Train for so many instead, to try it out.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Everything random depends on it.", min=0, max=2**32 - 1)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    data_root: models.DataRoot = None,
    output: Annotated[str, typer.Option(help="The folder to make the folder of the runs in.")] = "runs",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train what a paper trained, and compare with its number; without a name, what can be reproduced."""
    from vaekit import reproduction

    if name is None:
        known = {found: reproduction.find(found).summary for found in reproduction.names()}
        if as_json:
            show.document(known)
        else:
            show.table(list(known.items()), ("name", "what"))
        return
    wanted = reproduction.find(name)
    found = reproduction.reproduce(
        name, epochs=epochs, seed=seed, device=device, data_root=data_root, output=output, progress=not quiet
    )
    if as_json:
        from vaekit import strictjson

        show.document({**strictjson.loads((found.path / "reproduction.json").read_bytes()), "folder": str(found.path)})
    else:
        show.table([("source", wanted.source), *wanted.setting.items(), ("runs", found.path)])
        typer.echo()
        rows = []
        for one in found.comparisons:
            error = "" if one.error is None else f" ± {one.error:.3f}"
            wanted_range = f"{one.low:.3f} or more" if one.high is None else f"{one.low:.3f} to {one.high:.3f}"
            verdict = "too short to say" if epochs is not None else "reproduced" if one.holds else "not reproduced"
            rows.append((one.what, f"{one.reference:.3f}", f"{one.found:.3f}{error}", wanted_range, verdict))
        show.table(rows, ("what", "reference", "found", "wanted", "verdict"))
    if epochs is None and not found.holds:
        raise typer.Exit(1)
