"""`vaekit refit`: another prior for a trained model."""

from typing import Annotated

import typer

from vaekit.cli import models, overrides
from vaekit.cli.training import (
    Accumulate,
    BatchSize,
    Clip,
    Compile,
    Device,
    EarlyStop,
    Epochs,
    Gamma,
    Json,
    LearningRate,
    Log,
    MemoryFormat,
    Milestones,
    Optimizer,
    Precision,
    Profile,
    Quiet,
    SaveEvery,
    Schedule,
    Select,
    Strategy,
    Threads,
    tell,
)
from vaekit.errors import ConfigError


def refit(
    model: models.Model,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="prior=NAME [prior.OPTION=VALUE]... [DATA]",
            help="The new prior, and the data where they are not those of the model.",
        ),
    ] = None,
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
    data_root: models.DataRoot = None,
    output: Annotated[str, typer.Option(help="The folder to make the run in.")] = "runs",
    name: Annotated[str | None, typer.Option(help="Of the run.  [default: time, data and prior]")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit another prior to a trained model, all else of which stays as it is, and write a run of its own.

    With `vaekit refit latest prior=mixture` samples are drawn from where the codes of the data are.
    """
    asked = overrides.parse(arguments or ())
    others = [kind for kind in asked.parts if kind not in ("prior", "loss")]
    if others or asked.data:
        what = others[0] if others else f"data.{next(iter(asked.data))}"
        raise ConfigError(f"{what} stays as it is in a refit: give prior=NAME and its options, or train anew")
    if "prior" not in asked.parts:
        raise ConfigError("which prior? prior=NAME; `vaekit parts prior` lists them")
    from vaekit.fitting import refit as refit_model

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
    run = refit_model(
        model,
        prior=asked.parts["prior"],
        loss=asked.parts.get("loss"),
        data=asked.source,
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
