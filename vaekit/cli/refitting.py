"""`vaekit refit`: another prior for a trained model."""

from typing import Annotated

import typer

from vaekit.cli import models, overrides
from vaekit.cli.training import (
    BatchSize,
    Device,
    EarlyStop,
    Epochs,
    Gamma,
    Json,
    LearningRate,
    Milestones,
    Optimizer,
    Precision,
    Quiet,
    SaveEvery,
    Schedule,
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
    early_stop: EarlyStop = None,
    seed: Annotated[int | None, typer.Option(help="Everything random depends on it.  [default: 0]")] = None,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    save_every: SaveEvery = 10.0,
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
        milestones=milestones,
        gamma=gamma,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        early_stop=early_stop,
        seed=seed,
        device=device,
        precision=precision,
        threads=threads,
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
        **training,
    )
    tell(run, as_json)
