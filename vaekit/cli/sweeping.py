"""`vaekit sweep`: many runs and one table."""

from typing import Annotated

import typer

from vaekit.cli import overrides, show, training
from vaekit.errors import ConfigError


def sweep(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA PART.OPTION=VALUE,VALUE...",
            help="Data, and values with commas between.  [default: the recipe's]",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each combination, with the seeds from 0.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes at once.")] = 1,
    recipe: training.Recipe = None,
    short: training.Short = False,
    epochs: training.Epochs = None,
    batch_size: training.BatchSize = None,
    optimizer: training.Optimizer = None,
    lr: training.LearningRate = None,
    schedule: training.Schedule = None,
    milestones: training.Milestones = None,
    gamma: training.Gamma = None,
    clip: training.Clip = None,
    select: training.Select = None,
    early_stop: training.EarlyStop = None,
    device: training.Device = None,
    accumulate: training.Accumulate = None,
    precision: training.Precision = None,
    compile: training.Compile = None,
    memory_format: training.MemoryFormat = None,
    threads: training.Threads = None,
    data_root: Annotated[str | None, typer.Option(help="Where data sets are.  [env: VAEKIT_DATA]")] = None,
    output: Annotated[str, typer.Option(help="The folder to make the sweep in.")] = "runs",
    name: Annotated[str | None, typer.Option(help="Of the sweep.  [default: the data, and a piece of a hash]")] = None,
    quiet: training.Quiet = False,
    as_json: training.Json = False,
) -> None:
    """Train every combination of some options, and tabulate the test bounds; run again, it goes on where it stopped."""
    given = arguments or []
    swept = [a for a in given if a.partition("=")[1] and a.partition("=")[0].partition(".")[0] in overrides.KINDS]
    rest = overrides.parse(a for a in given if a not in swept)
    if rest.source is None and recipe is None:
        raise ConfigError("which data set? vaekit sweep digits loss.beta=0,1,12")
    grid = {key: overrides.several(text) for key, _, text in (argument.partition("=") for argument in swept)}
    from vaekit.sweeps import sweep as run_all

    asked = overrides.training(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        milestones=milestones,
        gamma=gamma,
        clip=clip,
        select=select,
        early_stop=early_stop,
        device=device,
        accumulate=accumulate,
        precision=precision,
        compile=compile,
        memory_format=memory_format,
        threads=threads,
    )
    found = run_all(
        rest.source,
        grid,
        seeds=seeds,
        jobs=jobs,
        recipe=recipe,
        short=short,
        data_options=rest.data,
        data_root=data_root,
        output=output,
        name=name,
        progress=not quiet,
        **asked,
    )
    means = found.means()
    if as_json:
        show.document({"sweep": str(found.path), "rows": found.rows, "means": means})
        return
    rows = []
    for row in means:
        terms = [_with_spread(row[term], row[f"{term}_std"]) for term in ("nelbo", "reconstruction", "kl")]
        rows.append((*(str(row["values"].get(what, "")) for what in found.swept), row["seeds"], *terms))
    show.table(rows, (*found.swept, "seeds", "negative ELBO", "reconstruction", "KL"))
    for failed in (row for row in found.rows if row["error"]):
        typer.echo(f"failed: {failed['run']}: {failed['error']}", err=True)
    typer.echo(f"\n{found.path / 'sweep.csv'}")
    if found.figure is not None:
        typer.echo(found.figure)


def _with_spread(mean: float | None, spread: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.2f}" if spread is None else f"{mean:.2f} ± {spread:.2f}"
