"""Runs: what training leaves on disk, how one is made, and how one is continued.

    run.json       all that is needed to repeat it
    metrics.jsonl  metrics.csv    one row a report
    model/         the model folder, best by the validation bound
    checkpoints/   training state, the last two
    figures/       pictures
"""

import csv
import json
import platform
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vaekit import checkpoint, figures, io, recipes, registry
from vaekit.config import DEFAULTS, Config, DataInfo, as_spec
from vaekit.data.batches import Batches
from vaekit.data.check import check_labels, check_support
from vaekit.data.prepare import Data
from vaekit.data.prepare import load as load_data
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, ConfigError
from vaekit.evaluation import bound
from vaekit.model import VAE
from vaekit.progress import Progress, choose
from vaekit.training import Report, Trainer, TrainingOptions
from vaekit.wiring import build


class Run:
    """A run directory.

    Args:
        path: of the directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says."""
        try:
            record: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path} is not a run: {error}") from None
        return record

    @property
    def status(self) -> str:
        """`running`, `done`, `interrupted` or `failed`."""
        return str(self.record["status"])

    @cached_property
    def model(self) -> VAE:
        """The model that was best by the validation bound."""
        return io.load(self.path / "model")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One row a report: epoch, step, split, terms in nats per example, images_per_second, lr."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    @property
    def figures(self) -> list[Path]:
        """The pictures."""
        return sorted((self.path / "figures").glob("*.png"))


def fit(
    data: Any = None,
    *,
    recipe: str | None = None,
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
    start = recipes.load(recipe) if recipe is not None else recipes.Recipe()
    chosen = start.but(data, parts, data_options or {}, training)
    if chosen.source is None:
        raise ConfigError("no data: give the name of a data set, arrays, or a recipe")
    options = TrainingOptions(**chosen.training)
    work = _Work(chosen.source, DataOptions(**chosen.data), data_root, chosen.parts, options)
    run = _new_run(Path(output), name, work)
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
        work.trainer.load_state(*state)
    _cut(found.path / "metrics.jsonl", work.trainer.epoch)
    if found.status != "done":
        _train(found, work, choose(progress, options.epochs))
    return found


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
        self.source = source if isinstance(source, str) else None
        self.root = None if root is None else str(Path(root).absolute())
        self.data_options, self.options = data_options, options
        self.data = load_data(source, data_options, root)
        parts = {**parts, "context": _with_classes(parts.get("context"), self.data.info)}
        with torch.random.fork_rng([]):
            torch.manual_seed(options.seed)
            self.model, self.loss = build(Config(data_shape=self.data.shape, data=self.data.info, **parts))
        check_labels(self.model.context, self.data)
        self.remark = check_support(self.model.likelihood, self.data)
        self.trainer = Trainer(self.model, self.loss, options)

    @property
    def config(self) -> Config:
        assert self.model.config is not None
        return self.model.config

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


def _with_classes(context: Any, info: DataInfo) -> Any:
    """A context that counts classes counts those of the data, unless it was told how many."""
    spec = as_spec("context", context or DEFAULTS["context"])
    options = [option.name for option in registry.options(registry.find("context", str(spec["name"])))]
    return {"classes": len(info.classes), **spec} if "classes" in options and len(info.classes) > 1 else spec


def _train(run: Run, work: _Work, progress: Progress) -> None:
    trainer, model = work.trainer, work.model
    progress.message(_heading(run, work))
    if work.remark:
        progress.message(f"note: {work.remark}")
    status = "failed"
    saved = time.monotonic()
    try:
        with progress, (run.path / "metrics.jsonl").open("a", encoding="utf-8") as log:
            for report in trainer.run(work.batches("train"), work.batches("validation"), progress.every):
                progress.report(report)
                if report.done == 1.0:
                    log.write(json.dumps(_row(report)) + "\n")
                    log.flush()
                if report.best:
                    io.save(model, run.path / "model")
                if report.split == "validation" and time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    checkpoint.write(run.path / "checkpoints", *trainer.state())
                    saved = time.monotonic()
        checkpoint.write(run.path / "checkpoints", *trainer.state())
        status = "done"
    except KeyboardInterrupt:
        status = "interrupted"
        progress.message(f"stopped in epoch {trainer.epoch + 1}")
        if not (run.path / "model").exists():
            io.save(model, run.path / "model")
    finally:
        _record(run.path, {**run.record, "status": status})
    _finish(run, work, status)


def _finish(run: Run, work: _Work, status: str) -> None:
    """The test bound of the best model, the table of metrics, and the pictures."""
    model = run.model.to(work.trainer.device)
    terms = bound(model, work.batches("test"), seed=work.options.seed)
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"epoch": work.trainer.epoch, "step": work.trainer.steps, "split": "test", **terms}) + "\n")
    _write_csv(run.path / "metrics.csv", run.metrics)
    x, y = next(iter(Batches(work.data.test, 50, device=work.trainer.device)))
    figures.write(run.path / "figures", model, x, y, run.metrics)


def _new_run(output: Path, name: str | None, work: _Work) -> Run:
    """A directory that was not there before, with its run.json."""
    encoder = work.config.encoder["name"]
    stem = name or f"{time.strftime('%Y%m%d-%H%M%S')}-{work.data.info.name}-{encoder}"
    if Path(stem).name != stem or stem in (".", ".."):
        raise ConfigError(f"a run's name is one folder name, not {stem!r}; --output says where it goes")
    path = output / stem
    for again in range(2, 1000):
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            if name:
                raise ConfigError(f"{path} is there already, and runs are never overwritten: choose another name") from None
            path = output / f"{stem}-{again}"
        except OSError as error:
            raise ConfigError(f"no run can be made in {output}: {error.strerror}") from None
    _record(
        path,
        {
            "vaekit": version("vaekit"),
            "status": "running",
            "command": sys.argv,
            "source": work.source,
            "data_root": work.root,
            "data": work.data_options.model_dump(mode="json"),
            "config": work.config.model_dump(mode="json"),
            "training": work.options.model_dump(mode="json"),
            "device": str(work.trainer.device),
            "threads": torch.get_num_threads(),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, **work.config.plugins},
        },
    )
    return Run(path)


def _record(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    io.write_whole(path / "run.json", lambda partial: partial.write_text(text, encoding="utf-8"))


def _heading(run: Run, work: _Work) -> str:
    config, options = work.config, work.options
    parts = " · ".join(f"{kind} {config.part(kind)['name']}" for kind in DEFAULTS if config.part(kind)["name"] != "none")
    size = sum(p.numel() for p in work.model.parameters())
    data = f"{work.data.info.name} {work.data.shape}: {len(work.data.train):,} / {len(work.data.validation):,} / {len(work.data.test):,}"
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


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _cut(metrics: Path, epoch: int) -> None:
    """Drop the rows of epochs that are about to be run again."""
    if metrics.exists():
        rows = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in rows if (r := _parsed(row)) and r["epoch"] <= epoch and r["split"] != "test"]
        io.write_whole(metrics, lambda partial: partial.write_text("".join(kept), encoding="utf-8"))


def _parsed(row: str) -> dict[str, Any] | None:
    try:
        parsed: dict[str, Any] = json.loads(row)
    except ValueError:  # the last row of a run that was killed
        return None
    return parsed


def _difference(before: DataInfo | None, now: DataInfo) -> str:
    old = before.model_dump() if before else {}
    changed = [f"{key} was {old.get(key)!r} and is {value!r}" for key, value in now.model_dump().items() if old.get(key) != value]
    return "; ".join(changed)


_SECONDS_BETWEEN_CHECKPOINTS = 5.0
