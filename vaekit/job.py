"""One run from its first step to its pictures: everything is checked first, and everything is kept in its directory."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vaekit import checkpoint, figures, io
from vaekit.blocks import drawing, evaluation, threads
from vaekit.checkpoint import is_finite
from vaekit.choices import Choices
from vaekit.config import DEFAULTS, Config
from vaekit.data.batches import Batches
from vaekit.data.check import check_labels, check_padding, check_support
from vaekit.data.prepare import SPLITS
from vaekit.data.prepare import load as load_data
from vaekit.data.subset import some
from vaekit.data.transform import DataOptions
from vaekit.errors import CheckpointError, DataError, TrainingError
from vaekit.evaluation import bound
from vaekit.loggers import Logger, close
from vaekit.profiling import profiled
from vaekit.progress import Progress
from vaekit.ranks import Ranks
from vaekit.runs import Run
from vaekit.starting import check_prior_alone, digest, new_model, weights_of
from vaekit.stopping import heard
from vaekit.tally import CURE
from vaekit.trainer import Trainer
from vaekit.training import Report, TrainingOptions


class Job:
    """Everything that training takes, checked: nothing has been written yet.

    Args:
        source: of the data, as `fit` takes it.
        data_options: what to do to them.
        root: where named data sets are.
        parts: of the model, and the loss.
        options: of training.
        ranks: the processes that train together.
        choices: what the run settled before, where it is continued.
        start: the model whose weights it starts with, as `vaekit.load` takes it; those of its prior it does not take, and
            nothing else is trained.
        started: the digest of these weights, where they have to be the same again.
    """

    def __init__(
        self,
        source: Any,
        data_options: DataOptions,
        root: str | Path | None,
        parts: dict[str, Any],
        options: TrainingOptions,
        ranks: Ranks,
        choices: Choices | None = None,
        start: str | None = None,
        started: str | None = None,
    ) -> None:
        self.start = start
        self.root = None if root is None else str(Path(root).absolute())
        self.data_options, self.options, self.ranks = data_options, options, ranks
        with ranks.main_first():  # which downloads what is missing
            self.data = load_data(source, data_options, root)
        self.source = None if self.data.source is None else lasting(self.data.source)
        if len(self.data.validation) < ranks.size:
            raise DataError(f"{len(self.data.validation)} examples to validate on cannot be shared by {ranks.size} ranks")
        weights = weights_of(start, self.data)
        self.started = digest(weights) if weights else started
        if started not in (None, self.started):
            raise CheckpointError(f"{start}, which the run began with, has changed since: bring it back, or refit anew")
        self.model, self.loss = new_model(self.data, parts, options.seed, weights)
        check_padding(self.model.encoder, self.data)
        check_labels(self.model.context, self.data)
        self.remark = check_support(self.model.likelihood, self.data)
        if start is not None:
            check_prior_alone(self.model, self.loss)
        self.trainer = Trainer(self.model, self.loss, options, choices, ranks)
        self._try()
        self._better = False
        self._batches = {split: self._of(split) for split in ("train", "validation")}

    def _try(self) -> None:
        """Two examples, so that what does not go together is said before anything is written."""
        x, y = next(iter(Batches(self.data.validation.take(some(len(self.data.validation), 2)), 2, device=self.trainer.device)))
        with drawing(0, x.device), evaluation(self.trainer.step):
            for player in self.trainer.players:
                self.trainer.step(x, y, player)

    @property
    def config(self) -> Config:
        """Of the model."""
        assert self.model.config is not None
        return self.model.config

    @property
    def examples(self) -> dict[str, int]:
        """How many there are in each split."""
        return {split: len(getattr(self.data, split)) for split in SPLITS}

    def record(self) -> dict[str, Any]:
        """What run.json holds: all that is needed to repeat the run."""
        return {
            "vaekit": version("vaekit"),
            "status": "running",
            "remark": self.remark,
            "command": sys.argv,
            "source": self.source,
            "start": self.start,
            "started": self.started,
            "data_root": self.root,
            "data": self.data_options.model_dump(mode="json"),
            "examples": self.examples,
            "config": self.config.model_dump(mode="json"),
            "training": self.options.model_dump(mode="json"),
            "ranks": self.ranks.size,
            "versions": {"python": platform.python_version(), "torch": torch.__version__, **self.config.plugins},
        }

    def go_on(self, state: checkpoint.State, where: Path) -> None:
        """Stand where a checkpoint was taken.

        Raises:
            CheckpointError: where it is of another model or of other options, saying what differs.
        """
        tensors, progress = state
        differing = _differences(progress.get("of", {}), self._identity())
        if differing:
            raise CheckpointError(f"the checkpoint of {where} is of something else: {'; '.join(differing[:5])}")
        self.trainer.settle(self._batches["train"])
        try:
            self.trainer.load_state(tensors, progress)
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"the checkpoint of {where} is of another model: {error}") from None

    def train(self, run: Run, progress: Progress, save_every: float, loggers: Sequence[Logger], trace: Path | None) -> None:
        """Train to the end, or until asked to stop, and keep everything; then test and draw the best model.

        Args:
            run: to keep it in.
            progress: is told how it goes.
            save_every: seconds between checkpoints.
            loggers: get every row of the metrics besides, and are closed.
            trace: the file to write a profile of some steps to.
        """
        try:
            self._train(run, progress, checkpoint.Saver(run.path / "checkpoints", save_every), loggers, trace)
            if self.ranks.main and (run.path / "model").exists():
                assert self.trainer.choices is not None
                with threads(self.trainer.choices.threads):
                    self._finish(run, loggers)
                if self.trainer.done:
                    run.note(status="done")
        finally:
            close(loggers)

    def _train(
        self, run: Run, progress: Progress, saver: checkpoint.Saver, loggers: Sequence[Logger], trace: Path | None
    ) -> None:
        trainer, status = self.trainer, "failed"
        with heard(trainer.stop):
            try:
                self._begin(run, progress)
                with progress, profiled(trainer, trace, self._steps_to_come()):
                    self._loop(run, progress, saver, loggers)
                self._save(run, saver)
                status = "interrupted"  # until what is done has been tested and drawn too
                if not trainer.epoch:
                    self._keep(run)  # as far as it came
                if not trainer.done:
                    where = f"in epoch {trainer.epoch + 1}, after step {trainer.steps}"
                    progress.message(f"stopped {where}; vaekit resume {run.path} goes on")
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            except RuntimeError as error:
                raise self.ranks.explained(error) from None
            finally:
                trainer.leave()
                if self.ranks.main:
                    self._end(run, status)

    def _begin(self, run: Run, progress: Progress) -> None:
        """Say what is trained and how it is computed, and write down what was settled first."""
        progress.message(self._heading(run))
        for remark in filter(None, (self.remark, *self._remarks())):
            progress.message(f"note: {remark}")
        choices = self.trainer.settle(self._batches["train"])
        progress.message(f"computed in {choices}")
        if self.ranks.main and "chosen" not in run.record:
            run.note(chosen=choices.model_dump())

    def _remarks(self) -> Iterator[str]:
        if self.options.strategy == "fsdp" and self.ranks.size == 1:
            yield "fsdp shards a model over ranks, and this is one process by itself: nothing is sharded"
        if (self.options.threads or 1) > (os.cpu_count() or 1):
            yield f"{self.options.threads} threads are more than the {os.cpu_count()} cores here"

    def _steps_to_come(self) -> int:
        return (self.options.epochs - self.trainer.epoch) * len(self._batches["train"]) - self.trainer.position

    def _loop(self, run: Run, progress: Progress, saver: checkpoint.Saver, loggers: Sequence[Logger]) -> None:
        every = min(progress.every, saver.every)
        for report in self.trainer.run(self._batches["train"], self._batches["validation"], every):
            progress.report(report)
            if report.best:
                self._keep(run)
            due = self.ranks.any(self.ranks.main and saver.due)[0]
            if self.ranks.main and not report.partial:
                run.log(_row(report))
            for logger in loggers if due or not report.partial else ():
                logger.log(_row(report))
            if due:
                self._save(run, saver)

    def _keep(self, run: Run) -> None:
        """Keep the model as it is now."""
        weights = {name: self.ranks.full(tensor) for name, tensor in self.model.state_dict().items()}
        if self.ranks.main:
            io.save(self.model, run.path / "model", weights)
        self._better = True

    def _save(self, run: Run, saver: checkpoint.Saver) -> None:
        """Write a checkpoint."""
        tensors, progress = self.trainer.state()
        bad = self.ranks.main and not is_finite(tensors[f"step.{name}"] for name, _ in self.trainer.step.named_parameters())
        if self.ranks.any(bad)[0]:
            raise TrainingError(f"weights are not finite after step {self.trainer.steps}: {CURE}")
        if not self.ranks.main:
            return
        if self._better:  # before the checkpoint, from which nobody goes back to say it
            run.note(trained=run.weights)
            self._better = False
        saver.write((tensors, {**progress, "of": self._identity()}))

    def _end(self, run: Run, status: str) -> None:
        """Say how it ended; where it failed, as far as that can be said."""
        with suppress(CheckpointError) if status == "failed" else nullcontext():
            run.note(status=status, **({"trained": run.weights} if self._better else {}))
            run.tabulate()

    def _finish(self, run: Run, loggers: Sequence[Logger]) -> None:
        """The test bound of the best model, the table of metrics, and the pictures; and of which weights they are."""
        weights, device = run.weights, self.trainer.device
        model = run.model.to(device)
        test = Batches(self.data.test, self.options.batch_size, device=device)
        terms = bound(model, test, seed=self.options.seed)
        row = {"epoch": self.trainer.epoch, "step": self.trainer.steps, "split": "test", **terms}
        run.log(row)
        for logger in loggers:
            logger.log(row)
        run.note(tested=weights)
        run.tabulate()
        shown = self.data.test.take(some(len(self.data.test), 50))
        x, y = next(iter(Batches(shown, 50, device=device)))
        run.drew(figures.write(run.path / "figures", model, x, y, run.metrics), weights)

    def _of(self, split: str) -> Batches:
        training = split == "train"
        return Batches(
            getattr(self.data, split),
            self.options.batch_size,
            shuffle=training,
            dynamic=training and self.data.info.binarize == "dynamic",
            seed=self.options.seed,
            device=self.trainer.device,
            share=(self.ranks.rank, self.ranks.size),
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint is of, and must be of to be continued."""
        return {
            "config": self.config.model_dump(mode="json", exclude={"plugins"}),
            "data": self.data_options.model_dump(mode="json"),
            "training": self.options.model_dump(mode="json"),
        }

    def _heading(self, run: Run) -> str:
        config, options, ranks = self.config, self.options, self.ranks.size
        parts = " · ".join(f"{kind} {config.part(kind)['name']}" for kind in DEFAULTS if config.part(kind)["name"] != "none")
        size = sum(p.numel() for p in self.model.parameters())
        sizes = " / ".join(f"{len(getattr(self.data, split)):,}" for split in SPLITS)
        data = f"{self.data.info.name} {self.data.shape}: {sizes}"
        where = f"{ranks} ranks, this one on {self.trainer.device}" if ranks > 1 else str(self.trainer.device)
        return (
            f"{run.path}\n{data} to train on, validate and test\n{parts}\n"
            f"{size:,} parameters, {options.epochs} epochs of batches of {options.batch_size} on {where}; "
            "terms are sums over dimensions, in nats per example"
        )


def lasting(source: str) -> str:
    """A data set by name, its path such that it is found from any folder."""
    name, _, path = source.partition(":")
    found = Path(path).expanduser()
    return f"{name}:{found.absolute()}" if path and found.exists() else source  # it may be on the Hub


def _row(report: Report) -> dict[str, Any]:
    row = {"epoch": report.epoch, "step": report.step, "split": report.split, **report.terms}
    if report.split == "train":
        row |= {"images_per_second": round(report.images_per_second, 1), "lr": report.lr}
    return row


def _differences(there: Any, here: Any, where: str = "") -> list[str]:
    """What differs between two JSON values, each in words."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = dict.fromkeys((*there, *here))
        return [d for key in keys for d in _differences(there.get(key), here.get(key), f"{where}.{key}" if where else key)]
    return [] if there == here else [f"{where} {there!r} there, {here!r} here"]
