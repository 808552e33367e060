"""`vaekit train` and `vaekit resume`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import overrides, show
from vaekit.launch import speaks

if TYPE_CHECKING:
    from vaekit.runs import Run

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but the results.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Recipe = Annotated[str | None, typer.Option(help="A named config to start from; `vaekit recipes` lists them.")]
Short = Annotated[bool, typer.Option("--short", help="Train the recipe for its short length.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over the training set.  [default: 10]")]
BatchSize = Annotated[int | None, typer.Option(help="Examples a step.  [default: 128]")]
Optimizer = Annotated[str | None, typer.Option(help="adam or rmsprop.  [default: adam]")]
LearningRate = Annotated[float | None, typer.Option(help="Learning rate.  [default: 0.001]")]
Schedule = Annotated[str | None, typer.Option(help="constant, cosine, one-cycle or steps.  [default: constant]")]
Milestones = Annotated[str | None, typer.Option(help="Epochs after which steps lowers it, such as 20,40.")]
Gamma = Annotated[float | None, typer.Option(help="What it is multiplied by then.  [default: 0.1]")]
Clip = Annotated[float | None, typer.Option(help="Largest norm of the gradient.")]
Select = Annotated[str | None, typer.Option(help="Which model is best: loss, bound or last.  [default: as the loss says]")]
EarlyStop = Annotated[int | None, typer.Option(help="Stop after so many epochs without a better model.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...  [default: auto]")]
Accumulate = Annotated[int | None, typer.Option(help="Pieces to take the examples of a step in.  [default: 1]")]
Precision = Annotated[str | None, typer.Option(help="auto, fp32 or bf16.  [default: auto]")]
Compile = Annotated[str | None, typer.Option(help="auto, on or off.  [default: auto]")]
MemoryFormat = Annotated[str | None, typer.Option(help="auto, contiguous or channels_last.  [default: auto]")]
Threads = Annotated[int | None, typer.Option(help="Of the CPU.  [default: as torch has it]")]
Strategy = Annotated[str | None, typer.Option(help="Of several ranks: ddp or fsdp.  [default: ddp]")]
SaveEvery = Annotated[float, typer.Option(help="Seconds between checkpoints.")]
Log = Annotated[list[str] | None, typer.Option(help="Where metrics go besides: tensorboard.")]
Profile = Annotated[bool, typer.Option("--profile", help="Write a trace of some steps into the run.")]


def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA [PART=NAME] [PART.OPTION=VALUE]...", help="A data set, and what differs from the textbook."
        ),
    ] = None,
    recipe: Recipe = None,
    short: Short = False,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    optimizer: Optimizer = None,
    lr: LearningRate = None,
    schedule: Schedule = None,
    milestones: Milestones = None,
    gamma: Gamma = None,
    clip: Clip = None,
    select: Select = None,
    early_stop: EarlyStop = None,
    seed: Annotated[int | None, typer.Option(help="Everything random depends on it.  [default: 0]")] = None,
    device: Device = None,
    accumulate: Accumulate = None,
    precision: Precision = None,
    compile: Compile = None,
    memory_format: MemoryFormat = None,
    threads: Threads = None,
    strategy: Strategy = None,
    save_every: SaveEvery = 10.0,
    log: Log = None,
    profile: Profile = False,
    data_root: Annotated[str | None, typer.Option(help="Where data sets are.  [env: VAEKIT_DATA]")] = None,
    output: Annotated[str, typer.Option(help="The folder to make the run in.")] = "runs",
    name: Annotated[str | None, typer.Option(help="Of the run.  [default: time, data and encoder]")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model and write a run.

    A part is chosen by `encoder=lstm`, an option of it by `encoder.hidden=64`, one of the data by `data.binarize=dynamic`.
    """
    asked = overrides.parse(arguments or ())
    from vaekit.fitting import fit

    training = overrides.training(
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
        seed=seed,
        device=device,
        accumulate=accumulate,
        precision=precision,
        compile=compile,
        memory_format=memory_format,
        threads=threads,
        strategy=strategy,
    )
    run = fit(
        asked.source,
        recipe=recipe,
        short=short,
        **asked.parts,
        data_options=asked.data,
        data_root=data_root,
        output=output,
        name=name,
        progress=not quiet,
        save_every=save_every,
        loggers=log or (),
        profile=profile,
        **training,
    )
    tell(run, as_json)


def resume(
    run: Annotated[str, typer.Argument(help="A run, or latest.")],
    data_root: Annotated[str | None, typer.Option(help="Where data sets are.  [default: as before]")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU.  [default: as before]")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...  [default: as before]")] = None,
    save_every: SaveEvery = 10.0,
    log: Log = None,
    profile: Profile = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Continue a run that was stopped."""
    from vaekit.io import run_folder
    from vaekit.resuming import resume as resume_run

    continued = resume_run(
        run_folder(run),
        data_root=data_root,
        threads=threads,
        device=device,
        progress=not quiet,
        save_every=save_every,
        loggers=log or (),
        profile=profile,
    )
    tell(continued, as_json)


def tell(run: "Run", as_json: bool) -> None:
    if not speaks():
        return
    final = [row for row in run.metrics if row["split"] == "test"][-1:]
    remark = run.record.get("remark", "")
    if as_json:
        figures = [str(path) for path in run.figures]
        show.document(
            {
                "run": str(run.path),
                "status": run.status,
                "figures": figures,
                "test": final[0] if final else None,
                "remark": remark,
            }
        )
    else:
        vaekit = show.command()
        rows: list[tuple[str, Any]] = [("run", run.path)]
        rows += [("figures" if i == 0 else "", path) for i, path in enumerate(run.figures)]
        for row in final:
            values = f"reconstruction {row['reconstruction']:.2f}"
            if "nelbo" in row:
                values = f"negative ELBO {row['nelbo']:.2f} = {values} + KL {row['kl']:.2f}"
            rows.append(("test", f"{values} nats per example{' (of a pseudo-likelihood, no bound)' if remark else ''}"))
        again = [f"{vaekit} resume {run.path}"] if run.status == "interrupted" else []
        look = [f"{vaekit} sample {run.path}", f"{vaekit} reconstruct {run.path}", f"{vaekit} evaluate {run.path}"]
        look = look if (run.path / "model").exists() else []
        rows += [("try next" if i == 0 else "", line) for i, line in enumerate([*again, *look][:3])]
        show.table(rows)
    if run.status == "interrupted":
        raise typer.Exit(130)
