"""Training in one call: everything is checked first, and everything is kept in a run directory."""

import json
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vaekit import checkpoint, figures, io, recipes, registry
from vaekit.blocks import drawing
from vaekit.config import DEFAULTS, Config, DataInfo, as_spec
from vaekit.data.batches import Batches
from vaekit.data.check import check_labels, check_support
from vaekit.data.prepare import SPLITS, Data
from vaekit.data.prepare import load as load_data
from vaekit.data.subset import some
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, ConfigError
from vaekit.evaluation import bound
from vaekit.model import VAE
from vaekit.parts import Loss
from vaekit.progress import Progress, choose
from vaekit.runs import Run, new_run
from vaekit.schema import validate
from vaekit.training import Report, Trainer, TrainingOptions
from vaekit.wiring import build, resolve


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
        training: fields of TrainingOptions: `epochs=25, lr=1e-3, early_stop=3`.

    Returns:
        The run; `run.model` is the best model. After Ctrl-C, its status is `interrupted` and `resume` continues it.

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
    options = TrainingOptions(**chosen.training)
    work = _Work(chosen.source, DataOptions(**chosen.data), data_root, dict(chosen.parts), options)
    run = new_run(Path(output), name, f"{work.data.info.name}-{work.config.encoder['name']}")
    run.note(**work.record())
    _train(run, work, choose(progress, options.epochs))
    return run


def resume(run: str | Path, *, data: Any = None, progress: bool = True) -> Run:
    """Continue a run from its last checkpoint, to the same weights as if it had never stopped.

    Args:
        run: the run directory.
        data: what it was trained on, where that was not a data set with a name.
        progress: whether to say on standard error how it goes.

    Raises:
        CheckpointError: where it cannot be continued.
    """
    found = Run(run)
    record = found.record
    source = data if data is not None else record["source"]
    if source is None:
        raise CheckpointError(f"{found.path} was trained on arrays: vaekit.resume(run, data=…) with the same ones")
    options = TrainingOptions(**record["training"])
    config = Config.from_json(json.dumps(record["config"]))
    parts = {kind: config.part(kind) for kind in DEFAULTS}
    work = _Work(source, DataOptions(**record["data"]), record["data_root"], parts, options)
    if work.data.info != config.data:
        raise CheckpointError(f"the data have changed since: {_difference(config.data, work.data.info)}")
    state = checkpoint.read(found.path / "checkpoints")
    if state is not None:
        try:
            work.trainer.load_state(*state)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint of {found.path} is of another model: {error}") from None
    found.cut(work.trainer.epoch)
    _train(found, work, choose(progress, options.epochs))
    return found


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
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()  # left by a run that was stopped before it could say anything
    asked = {**recipe.parts, "data_options": recipe.data, **recipe.training}
    return fit(recipe.source, name=name, output=output, **asked, **given)


def existing(path: Path, recipe: recipes.Recipe) -> Run | None:
    """The run there, whatever its status; None where there is none.

    Raises:
        ConfigError: saying what differs, where it is not of what the recipe says. The device may differ, and arrays are not
            compared.
    """
    if not (path / "run.json").is_file():
        return None
    run = Run(path)
    record = run.record
    before = Config.from_json(json.dumps(record["config"]))
    parts = {**recipe.parts, "context": _with_classes(recipe.parts.get("context"), before.data)}
    wanted = resolve(Config(data_shape=before.data_shape, **parts))
    was = _told(record["source"], resolve(before), record["data"], record["training"])
    source = _lasting(recipe.source) if isinstance(recipe.source, str) else None
    asked = _told(source, wanted, recipe.data, recipe.training)
    differing = [f"{what} {was.get(what)!r} there, {value!r} here" for what, value in asked.items() if was.get(what) != value]
    if differing:
        raise ConfigError(
            f"{path} is a run of something else ({'; '.join(differing)}): choose another --name or --output, or move it away"
        )
    return run


def _told(source: str | None, config: Config, data: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is of, by how it is asked for."""
    told: dict[str, Any] = {"data": source}
    for kind in DEFAULTS:
        name = {kind: config.part(kind)["name"]}
        told |= name | {f"{kind}.{option}": value for option, value in config.part(kind).items() if option != "name"}
    told |= {f"data.{option}": value for option, value in DataOptions(**data).model_dump(mode="json").items()}
    return told | TrainingOptions(**training).model_dump(mode="json", exclude={"device"})


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


def new_model(data: Data, parts: Mapping[str, Any], seed: int = 0) -> tuple[VAE, Loss]:
    """A model of some data with its first weights, and its loss."""
    parts = {**parts, "context": _with_classes(parts.get("context"), data.info)}
    with drawing(seed, torch.device("cpu")):
        return build(Config(data_shape=data.shape, data=data.info, **parts))


class _Work:
    """Everything that training takes, checked: nothing has been written yet."""

    def __init__(
        self,
        source: Any,
        data_options: DataOptions,
        root: str | Path | None,
        parts: dict[str, Any],
        options: TrainingOptions,
    ) -> None:
        self.source = _lasting(source) if isinstance(source, str) else None
        self.root = None if root is None else str(Path(root).absolute())
        self.data_options, self.options = data_options, options
        self.data = load_data(source, data_options, root)
        self.model, self.loss = new_model(self.data, parts, options.seed)
        check_labels(self.model.context, self.data)
        self.remark = check_support(self.model.likelihood, self.data)
        self.trainer = Trainer(self.model, self.loss, options)

    @property
    def config(self) -> Config:
        assert self.model.config is not None
        return self.model.config

    def record(self) -> dict[str, Any]:
        """What run.json holds: all that is needed to repeat the run."""
        return {
            "vaekit": version("vaekit"),
            "status": "running",
            "remark": self.remark,
            "command": sys.argv,
            "source": self.source,
            "data_root": self.root,
            "data": self.data_options.model_dump(mode="json"),
            "config": self.config.model_dump(mode="json"),
            "training": self.options.model_dump(mode="json"),
            "device": str(self.trainer.device),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, **self.config.plugins},
        }

    def batches(self, split: str) -> Batches:
        training = split == "train"
        return Batches(
            getattr(self.data, split),
            self.options.batch_size,
            shuffle=training,
            dynamic=training and self.data.info.binarize == "dynamic",
            seed=self.options.seed,
            device=self.trainer.device,
        )


def _lasting(source: str) -> str:
    """A data set by name, its path such that it is found from any folder."""
    name, colon, path = source.partition(":")
    return f"{name}:{Path(path).expanduser().absolute()}" if colon else source


def _with_classes(context: Any, info: DataInfo | None) -> Any:
    """A context that counts classes counts those of the data, unless it was told how many."""
    spec = as_spec("context", context or DEFAULTS["context"])
    options = [option.name for option in registry.options(registry.find("context", str(spec["name"])))]
    classes = len(info.classes) if info is not None else 0
    return {"classes": classes, **spec} if "classes" in options and classes > 1 else spec


def _train(run: Run, work: _Work, progress: Progress) -> None:
    trainer, model = work.trainer, work.model
    progress.message(_heading(run, work))
    if work.remark:
        progress.message(f"note: {work.remark}")
    checkpoints = run.path / "checkpoints"
    saved = time.monotonic()
    finished: _State | None = None
    status = "failed"
    better = False
    try:
        with progress:
            for report in trainer.run(work.batches("train"), work.batches("validation"), progress.every):
                progress.report(report)
                if not report.partial:
                    run.log(_row(report))
                if report.best:
                    io.save(model, run.path / "model")
                    better = True
                if report.split == "train":
                    continue
                if time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    checkpoint.write(checkpoints, *trainer.state())
                    saved, finished = time.monotonic(), None
                    if better:
                        run.note(trained=run.weights)
                        better = False
                else:
                    finished = _copied(trainer.state())
        checkpoint.write(checkpoints, *trainer.state())
        status = "done"
    except KeyboardInterrupt:
        status = "interrupted"
        progress.message(f"stopped in epoch {trainer.epoch + 1}")
        if finished is not None:
            checkpoint.write(checkpoints, *finished)
        if not (run.path / "model").exists() and all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            io.save(model, run.path / "model")
            better = True
    finally:
        run.note(status=status, **({"trained": run.weights} if better else {}))
        run.tabulate()
    if (run.path / "model").exists():
        _finish(run, work)


_State = tuple[dict[str, torch.Tensor], dict[str, Any]]


def _copied(state: _State) -> _State:
    """A state that training does not go on changing."""
    return {name: tensor.detach().clone() for name, tensor in state[0].items()}, state[1]


def _finish(run: Run, work: _Work) -> None:
    """The test bound of the best model, the table of metrics, and the pictures; and of which weights they are."""
    weights = run.weights
    model = run.model.to(work.trainer.device)
    terms = bound(model, work.batches("test"), seed=work.options.seed)
    run.log({"epoch": work.trainer.epoch, "step": work.trainer.steps, "split": "test", **terms})
    run.note(tested=weights)
    run.tabulate()
    shown = work.data.test.take(some(len(work.data.test), 50))
    x, y = next(iter(Batches(shown, 50, device=work.trainer.device)))
    run.drew(figures.write(run.path / "figures", model, x, y, run.metrics), weights)


def _heading(run: Run, work: _Work) -> str:
    config, options = work.config, work.options
    parts = " · ".join(f"{kind} {config.part(kind)['name']}" for kind in DEFAULTS if config.part(kind)["name"] != "none")
    size = sum(p.numel() for p in work.model.parameters())
    sizes = " / ".join(f"{len(getattr(work.data, split)):,}" for split in SPLITS)
    data = f"{work.data.info.name} {work.data.shape}: {sizes}"
    return (
        f"{run.path}\n{data} to train on, validate and test\n{parts}\n"
        f"{size:,} parameters, {options.epochs} epochs of batches of {options.batch_size} on {work.trainer.device}; "
        "terms are sums over dimensions, in nats per example"
    )


def _row(report: Report) -> dict[str, Any]:
    row = {"epoch": report.epoch, "step": report.step, "split": report.split, **report.terms}
    if report.split == "train":
        row |= {"images_per_second": round(report.images_per_second, 1), "lr": report.lr}
    return row


def _difference(before: DataInfo | None, now: DataInfo) -> str:
    old = before.model_dump() if before else {}
    new = now.model_dump()
    return "; ".join(f"{key} was {old.get(key)!r} and is {new[key]!r}" for key in new if old.get(key) != new[key])


_SECONDS_BETWEEN_CHECKPOINTS = 5.0
