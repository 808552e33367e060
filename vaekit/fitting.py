"""Training in one call, and continuing what was stopped."""

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from vaekit import checkpoint, loggers, recipes, registry
from vaekit.choices import Choices
from vaekit.config import DEFAULTS, Config
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, ConfigError
from vaekit.job import Job, lasting, with_classes
from vaekit.launch import fsdp_asked, launched
from vaekit.loggers import Logger, opened
from vaekit.progress import choose
from vaekit.ranks import Ranks, joined
from vaekit.runs import Run, new_run
from vaekit.schema import validate
from vaekit.training import TrainingOptions
from vaekit.wiring import resolve


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
    training = {**chosen.training, **({"strategy": "fsdp"} if launched() and fsdp_asked() else {})}
    options = TrainingOptions(**training)
    _check(save_every, loggers)
    with joined(options) as ranks:
        job = Job(chosen.source, DataOptions(**chosen.data), data_root, dict(chosen.parts), options, ranks)
        run = _made(ranks, Path(output), name, f"{job.data.info.name}-{job.config.encoder['name']}")
        with run.held() if ranks.main else nullcontext():
            if ranks.main:
                _begun(run, job)
            with _curable(run):
                _train(run, job, progress, save_every, loggers, profile)
    return run


def resume(
    run: str | Path,
    *,
    data: Any = None,
    data_root: str | Path | None = None,
    threads: int | None = None,
    device: str | None = None,
    progress: bool = True,
    save_every: float = 10.0,
    loggers: Sequence[str | Logger] = (),
    profile: bool = False,
) -> Run:
    """Continue a run from its last checkpoint, to the same metrics and weights as if it had never stopped.

    Args:
        run: the run directory.
        data: what it was trained on, where that was not a data set with a name.
        data_root: where named data sets are, where they are not where they were.
        threads: of the CPU; with another number than before, the weights come out the same but for rounding.
        device: likewise.
        progress: whether to say on standard error how it goes.
        save_every: seconds between checkpoints.
        loggers: as for `fit`.
        profile: as for `fit`.

    Raises:
        CheckpointError: where it cannot be continued.
    """
    found = Run(run)
    record = found.record
    _check(save_every, loggers)
    source = data if data is not None else record["source"]
    if source is None:
        raise CheckpointError(f"{found.path} was trained on arrays: vaekit.resume(run, data=…) with the same ones")
    options = TrainingOptions(**record["training"])
    config = Config.from_json(json.dumps(record["config"]))
    parts = {kind: config.part(kind) for kind in DEFAULTS}
    choices = _chosen(record, threads, device)
    root = data_root or record["data_root"]
    if data_root is None and root is not None and not Path(root).is_dir():
        root = None  # where data sets usually are
    with joined(options) as ranks:
        if ranks.size != record.get("ranks", ranks.size):
            _warn(f"the run was of {record['ranks']} ranks and is continued on {ranks.size}")
        job = Job(source, DataOptions(**record["data"]), root, parts, options, ranks, choices)
        versions = _differing_versions(record, job)
        if versions:
            _warn(f"the run was computed with {', '.join(versions)}")
        changed = _changed(record, config, job)
        if changed:
            raise CheckpointError(
                f"the data have changed since: {'; '.join(changed)}; bring back what they were, or train anew"
            )
        with found.held() if ranks.main else nullcontext(), _curable(found):
            if ranks.main and found.record != record:
                raise CheckpointError(f"another process has trained {found.path} meanwhile: say it again")
            state = checkpoint.read(found.path / "checkpoints")
            if len({int(step) for step in ranks.all_gather(torch.tensor(state[1]["steps"] if state else -1))}) > 1:
                raise CheckpointError(f"not every rank sees the checkpoints in {found.path}: all nodes must share that folder")
            if state is not None:
                job.go_on(state, found.path)
            if ranks.main:
                found.note(status="running", data_root=job.root)
                found.cut(job.trainer.epoch)
            _train(found, job, progress, save_every, loggers, profile)
    return found


def _chosen(record: Mapping[str, Any], threads: int | None, device: str | None) -> Choices | None:
    """What the run settled before, but for what is asked otherwise now."""
    if "chosen" not in record:
        return None  # it was stopped before it could settle anything
    before = Choices(**record["chosen"])
    asked = {"threads": threads, "device": device}
    chosen = before.but(**{name: value for name, value in asked.items() if value is not None})
    if chosen != before:
        there, here = (f"on {choices.device} with {choices.said_threads}" for choices in (before, chosen))
        _warn(f"the run was computed {there}, and is now {here}")
    return chosen


def _differing_versions(record: Mapping[str, Any], job: Job) -> list[str]:
    was, now = record.get("versions", {}), job.record()["versions"]
    return [f"{name} {old}, and is now with {now[name]}" for name, old in was.items() if now.get(name, old) != old]


def _warn(what: str) -> None:
    warnings.warn(f"{what}: the weights will not be the same to the last bit", stacklevel=3)


def _made(ranks: Ranks, output: Path, name: str | None, stem: str) -> Run:
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
def _curable(run: Run) -> Iterator[None]:
    """A block in which an error for want of space says how to go on."""
    try:
        yield
    except (CheckpointError, ConfigError, OSError) as error:
        if not any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
            raise
        raise CheckpointError(f"{error}: free some space, then `vaekit resume {run.path}` goes on") from None


def _check(save_every: float, wanted: Sequence[str | Logger]) -> None:
    """See that how a run is kept and told can be done, before there is one."""
    if not save_every > 0:
        raise ConfigError(f"save_every is {save_every}: seconds are wanted")
    loggers.check(wanted)


def _begun(run: Run, job: Job) -> None:
    """Write what the run is of; a directory that cannot say it is no run, and not left behind."""
    try:
        run.note(**job.record())
    except CheckpointError:
        with suppress(OSError):
            run.path.rmdir()
        raise


def _train(run: Run, job: Job, progress: bool, save_every: float, loggers: Sequence[str | Logger], profile: bool) -> None:
    main = job.ranks.main
    job.train(
        run,
        choose(progress and main, job.options.epochs),
        save_every,
        opened(loggers, run.path, job.trainer.steps) if main else [],
        run.path / "trace.json" if profile and main else None,
    )


def continued(name: str, output: Path, recipe: recipes.Recipe, **given: Any) -> Run:
    """The run of that name: made as `fit` does, or continued where it was stopped, or found done.

    Args:
        name: of the run.
        output: the folder that it is in.
        recipe: all that is trained.
        given: of what else `fit` takes, `data_root` and `progress`.

    Raises:
        ConfigError: where the run of that name is of something else.
    """
    path = output / name
    run = existing(path, recipe)
    if run is not None:
        data = None if isinstance(recipe.source, str) else recipe.source
        return run if run.status == "done" else resume(path, data=data, progress=given.get("progress", True))
    if path.is_dir() and all(inside.name.startswith(".run.json.") for inside in path.iterdir()):
        shutil.rmtree(path)  # left by a run that was stopped before it could say anything
    asked = {**recipe.parts, "data_options": recipe.data, **recipe.training}
    return fit(recipe.source, name=name, output=output, **asked, **given)


def existing(path: Path, recipe: recipes.Recipe) -> Run | None:
    """The run there, whatever its status; None where there is none.

    Raises:
        ConfigError: saying what differs, where it is not of what the recipe says. The device and the like may differ, and
            arrays are not compared.
    """
    if not (path / "run.json").is_file():
        return None
    run = Run(path)
    record = run.record
    before = Config.from_json(json.dumps(record["config"]))
    parts = {**recipe.parts, "context": with_classes(recipe.parts.get("context"), before.data)}
    wanted = resolve(Config(data_shape=before.data_shape, **parts))
    was = _told(record["source"], resolve(before), record["data"], record["training"])
    source = _recorded(lasting(recipe.source), record["source"]) if isinstance(recipe.source, str) else None
    asked = _told(source, wanted, recipe.data, recipe.training)
    differing = [f"{what} {was.get(what)!r} there, {value!r} here" for what, value in asked.items() if was.get(what) != value]
    if differing:
        raise ConfigError(
            f"{path} is a run of something else ({'; '.join(differing)}): choose another --name or --output, or move it away"
        )
    return run


def _recorded(source: str, before: str | None) -> str:
    """How a run names a data set: by the commit that it was read at, where it is on the Hub and none is asked for."""
    name, _, revision = source.partition("@")
    known, _, commit = (before or "").partition("@")
    pinned = name == known and _COMMIT.fullmatch(commit) and not _COMMIT.fullmatch(revision)
    return f"{known}@{commit}" if pinned else source


_COMMIT = re.compile("[0-9a-f]{40}")


def _changed(record: Mapping[str, Any], config: Config, job: Job) -> list[str]:
    """What is not as it was of the data, each in words."""
    info, now = config.data.model_dump() if config.data else {}, job.data.info.model_dump()
    was = {**info, "shape": config.data_shape, **_beside_training(record.get("examples", job.examples))}
    now |= {"shape": job.data.shape, **_beside_training(job.examples)}
    return [f"{key} was {was.get(key)!r} and is {value!r}" for key, value in now.items() if was.get(key) != value]


def _beside_training(examples: Mapping[str, int]) -> dict[str, int]:
    return {f"{split} examples": n for split, n in examples.items() if split != "train"}


def _told(source: str | None, config: Config, data: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is of, by how it is asked for."""
    told: dict[str, Any] = {"data": source}
    for kind in DEFAULTS:
        name = {kind: config.part(kind)["name"]}
        told |= name | {f"{kind}.{option}": value for option, value in config.part(kind).items() if option != "name"}
    told |= {f"data.{option}": value for option, value in DataOptions(**data).model_dump(mode="json").items()}
    return told | TrainingOptions(**training).model_dump(mode="json", exclude=_HOW)


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


_HOW = {"device", "compile", "memory_format", "threads", "strategy"}
"""Options of how a run is computed, which a run that goes on has settled already."""
