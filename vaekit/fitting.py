"""Training in one call, from the beginning or from a trained model."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaekit import io, loggers, recipes, registry
from vaekit.config import DEFAULTS, Config
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, ConfigError
from vaekit.inputs import prepared
from vaekit.job import Job
from vaekit.launch import fsdp_asked, launched
from vaekit.loggers import Logger, opened
from vaekit.progress import choose
from vaekit.ranks import Ranks, joined
from vaekit.runs import Run, new_run
from vaekit.schema import validate
from vaekit.training import TrainingOptions


def fit(
    data: Any = None,
    *,
    recipe: str | None = None,
    short: bool = False,
    context: Any = None,
    encoder: Any = None,
    latent: Any = None,
    prior: Any = None,
    decoder: Any = None,
    likelihood: Any = None,
    loss: Any = None,
    data_options: Mapping[str, Any] | None = None,
    data_root: str | Path | None = None,
    output: str | Path = "runs",
    name: str | None = None,
    progress: bool = True,
    save_every: float = 10.0,
    loggers: Sequence[str | Logger] = (),
    profile: bool = False,
    **training: Any,
) -> Run:
    """Train a model and keep everything in a run directory.

    A part is a name, or a mapping of its name and options; the textbook part where none is given.

    Args:
        data: the name of a data set, arrays or tensors x or (x, y), or a torch Dataset.
        recipe: a named config to start from; what else is given replaces what it says.
        short: whether to train the recipe for its short length.
        context: what the model is told besides x.
        encoder: of x into features.
        latent: the posterior.
        prior: over the latent.
        decoder: of z into parameters.
        likelihood: of x.
        loss: to minimise.
        data_options: fields of DataOptions: `{"binarize": "dynamic"}`.
        data_root: where named data sets are, or are downloaded to.
        output: the folder to make the run in.
        name: of the run; the time, the data and the encoder unless given.
        progress: whether to say on standard error how it goes.
        save_every: seconds between checkpoints; more where writing one takes long.
        loggers: that get the metrics besides the run's own files: `tensorboard`, or a Logger.
        profile: whether to write a trace of some steps of torch's profiler into the run, trace.json.
        training: fields of TrainingOptions: `epochs=25, lr=1e-3, early_stop=3`.

    Returns:
        The run; `run.model` is the best model. After Ctrl-C, its status is `interrupted` and `resume` continues it. In a job of
        several ranks the first of them writes it, and may not have finished where the others return.

    Raises:
        VaekitError: one that says what is wrong, before any directory is made; TrainingError where training cannot go on.
    """
    parts = {
        "context": context,
        "encoder": encoder,
        "latent": latent,
        "prior": prior,
        "decoder": decoder,
        "likelihood": likelihood,
        "loss": loss,
    }
    chosen = recipes.start(recipe, short).but(data, parts, data_options or {}, training)
    if chosen.source is None:
        raise ConfigError("no data: give the name of a data set, arrays, or a recipe")
    return made(chosen, "encoder", Keeping(progress, save_every, loggers, profile), data_root, output, name)


def refit(
    model: str | Path,
    *,
    prior: Any,
    loss: Any = None,
    data: Any = None,
    data_root: str | Path | None = None,
    output: str | Path = "runs",
    name: str | None = None,
    progress: bool = True,
    save_every: float = 10.0,
    loggers: Sequence[str | Logger] = (),
    profile: bool = False,
    **training: Any,
) -> Run:
    r"""Give a trained model another prior, fitted to the codes of its data; all else of it stays as it is.

    The new prior has the least $-\mathbb E_x \mathbb E_{q(z \mid x)} \log p(z)$, and so the highest ELBO that a prior can give.

    Args:
        model: a run, a model folder or a repo on the Hub.
        prior: the new one, a name or a mapping of its name and options.
        loss: options of the loss `prior-nll`, or another loss whose only player is the prior.
        data: as for `fit`; what the model was trained on, prepared as it was, unless given.
        data_root: where named data sets are.
        output: the folder to make the run in.
        name: of the run; the time, the data and the prior unless given.
        progress: as for `fit`.
        save_every: as for `fit`.
        loggers: as for `fit`.
        profile: as for `fit`.
        training: fields of TrainingOptions.

    Returns:
        A run of its own.

    Raises:
        VaekitError: as for `fit`.
    """
    found = io.load(model)
    assert found.config is not None
    named = data if data is None or isinstance(data, str) else "arrays"
    source, options, root = prepared(str(model), found, named, data_root)
    asked = {"prior": prior, "loss": {"name": "prior-nll", **loss} if isinstance(loss, Mapping) else loss or "prior-nll"}
    recipe = recipes.Recipe(
        source=source if data is None else data,
        parts={**{kind: found.config.part(kind) for kind in DEFAULTS}, **asked},
        data=options.model_dump(mode="json"),
        training=training,
    )
    run = io.run_of(model)
    local = run if run is not None else Path(model).expanduser() if io.is_local(model) else None
    start = found.source if local is None else str(local.absolute())
    return made(recipe, "prior", Keeping(progress, save_every, loggers, profile), root, output, name, start)


@dataclass(frozen=True)
class Keeping:
    """How a run is kept and told of, as `fit` takes it.

    Args:
        progress: whether to say on standard error how it goes.
        save_every: seconds between checkpoints.
        loggers: that get the metrics besides.
        profile: whether to write a trace of some steps.
    """

    progress: bool
    save_every: float
    loggers: Sequence[str | Logger]
    profile: bool

    def __post_init__(self) -> None:
        if not self.save_every > 0:
            raise ConfigError(f"save_every is {self.save_every}: seconds are wanted")
        loggers.check(self.loggers)


def made(
    recipe: recipes.Recipe,
    told: str,
    keeping: Keeping,
    data_root: str | Path | None,
    output: str | Path,
    name: str | None,
    start: str | None = None,
) -> Run:
    """A run of what a recipe says.

    Args:
        recipe: all that is trained.
        told: the kind of part that the run is named after.
        keeping: how it is kept.
        data_root: where named data sets are.
        output: the folder to make it in.
        name: of it, unless it is named after its data and a part.
        start: the model that it takes weights from.
    """
    options = TrainingOptions(**{**recipe.training, **({"strategy": "fsdp"} if launched() and fsdp_asked() else {})})
    with joined(options) as ranks:
        job = Job(recipe.source, DataOptions(**recipe.data), data_root, dict(recipe.parts), options, ranks, start=start)
        run = _directory(ranks, Path(output), name, f"{job.data.info.name}-{job.config.part(told)['name']}")
        with run.held() if ranks.main else nullcontext():
            if ranks.main:
                _begun(run, job)
            with curable(run):
                keep_training(run, job, keeping)
    return run


def _directory(ranks: Ranks, output: Path, name: str | None, stem: str) -> Run:
    """A directory that was not there before, made by the main rank."""
    told: dict[str, str] = {}
    if ranks.main:
        try:
            told["path"] = str(new_run(output, name, stem).path)
        except ConfigError as error:
            told["error"] = str(error)
    told = ranks.broadcast(told)
    if "error" in told:
        raise ConfigError(told["error"])
    return Run(told["path"])


@contextmanager
def curable(run: Run) -> Iterator[None]:
    """A block in which an error for want of space says how to go on."""
    try:
        yield
    except (CheckpointError, ConfigError, OSError) as error:
        if not any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise CheckpointError(f"{error}: free some space, then `vaekit resume {run.path}` goes on") from None


def _begun(run: Run, job: Job) -> None:
    """Write what the run is of; a directory that cannot say it is no run, and not left behind."""
    try:
        run.note(**job.record())
    except CheckpointError:
        with suppress(OSError):
            run.path.rmdir()
        raise


def keep_training(run: Run, job: Job, keeping: Keeping) -> None:
    """Train to the end, as is asked; only the main rank tells of it and writes."""
    main = job.ranks.main
    job.train(
        run,
        choose(keeping.progress and main, job.options.epochs),
        keeping.save_every,
        opened(keeping.loggers, run.path, job.trainer.steps) if main else [],
        run.path / "trace.json" if keeping.profile and main else None,
    )


def check(recipe: recipes.Recipe) -> None:
    """See that a recipe can be trained and swept at either length, as far as can be told without its data.

    Raises:
        VaekitError: as `fit` does.
    """
    DataOptions(**recipe.data)
    TrainingOptions(**recipe.training)
    TrainingOptions(**{**recipe.training, **recipe.short})
    for values in ({}, *recipe.sweep):
        config = Config(data_shape=(1,), **recipe.but(None, recipes.parts(values), {}, {}).parts)
        for kind in DEFAULTS:
            spec = config.part(kind)
            part = registry.find(kind, str(spec["name"]))
            validate(part, {option: value for option, value in spec.items() if option != "name"})
