"""Continuing a run that was stopped, and knowing one by what it is of."""

import json
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from vaekit import checkpoint, recipes
from vaekit.choices import Choices
from vaekit.config import DEFAULTS, Config
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, ConfigError
from vaekit.fitting import Keeping, curable, fit, keep_training
from vaekit.job import Job, lasting
from vaekit.loggers import Logger
from vaekit.ranks import joined
from vaekit.runs import Run
from vaekit.starting import with_classes
from vaekit.training import TrainingOptions
from vaekit.wiring import resolve


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
    keeping = Keeping(progress, save_every, loggers, profile)
    start = None if checkpoint.there(found.path / "checkpoints") else record.get("start")
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
        job = Job(source, DataOptions(**record["data"]), root, parts, options, ranks, choices, start, record.get("started"))
        versions = _differing_versions(record, job)
        if versions:
            _warn(f"the run was computed with {', '.join(versions)}")
        changed = _changed(record, config, job)
        if changed:
            raise CheckpointError(
                f"the data have changed since: {'; '.join(changed)}; bring back what they were, or train anew"
            )
        with found.held() if ranks.main else nullcontext(), curable(found):
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
            keep_training(found, job, keeping)
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
    was["start"], asked["start"] = record.get("start"), None
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


_HOW = {"device", "compile", "memory_format", "threads", "strategy"}
"""Options of how a run is computed, which a run that goes on has settled already."""
