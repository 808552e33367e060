"""Training on the bundled digits while somebody watches."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from threading import Event, Lock
from typing import Annotated, Any

from pydantic import Field

from vaekit import Batches, ConfigError
from vaekit.data.prepare import Data, load
from vaekit.data.transform import DataOptions
from vaekit.options import Options
from vaekit.starting import new_model
from vaekit.trainer import Trainer
from vaekit.training import TrainingOptions
from vaekit_demo.engine.shown import Origin, Shown

_BATCH = 64


class Lesson(Options):
    """What is trained, and how.

    Args:
        features: dimensions of the latent.
        encoder: the name of a part.
        decoder: likewise.
        beta: the weight of the KL.
        epochs: passes over the 1,438 training digits.
        lr: learning rate.
        seed: everything random depends on it.
    """

    features: Annotated[int, Field(ge=1, le=32)] = 2
    encoder: Annotated[str, Field(max_length=64)] = "mlp"
    decoder: Annotated[str, Field(max_length=64)] = "mlp"
    beta: Annotated[float, Field(ge=0, le=20)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=300)] = 60
    lr: Annotated[float, Field(gt=0, le=0.1)] = 0.002
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @property
    def command(self) -> str:
        """What trains the same into a run."""
        return (
            f"vaekit train digits data.binarize=dynamic encoder={self.encoder} latent.features={self.features} "
            f"decoder={self.decoder} loss.beta={self.beta:g} --epochs {self.epochs} --batch-size {_BATCH} --lr {self.lr:g} "
            f"--seed {self.seed}"
        )


@dataclass
class Progress:
    """How a training stands.

    Args:
        lesson: what is trained.
        shown: the model as it is by now.
        epoch: epochs done.
        rows: of each epoch and split: `epoch`, `split`, `nelbo`, `reconstruction`, `kl`, in nats per example.
        over: whether this is the end, reached or stopped.
    """

    lesson: Lesson
    shown: Shown
    epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    over: bool = False


_teaching = Lock()


def teach(lesson: Lesson, stop: Event, number: int = 1) -> Iterator[Progress]:
    """Train, and say after each epoch how it stands; the last time, that it is over.

    Args:
        lesson: what to train.
        stop: ends it after the epoch; cleared when it begins.
        number: which training here it is, for the model's name.

    Raises:
        ConfigError: where a training is going on already, or parts do not fit.
    """
    if not _teaching.acquire(blocking=False):
        raise ConfigError("A training is going on already, in this page or another: stop that first.")
    try:
        stop.clear()
        data = digits()
        model, loss = new_model(data, _parts(lesson), lesson.seed)
        title, origin = f"digits, trained here ({number})", Origin(command=lesson.command)
        progress = Progress(lesson, Shown(f"trained-{number}", title, model, lambda: data.test, origin))
        yield progress
        batches = Batches(data.train, _BATCH, shuffle=True, dynamic=True, seed=lesson.seed)
        options = TrainingOptions(epochs=lesson.epochs, batch_size=_BATCH, lr=lesson.lr, seed=lesson.seed, device="cpu")
        for report in Trainer(model, loss, options).run(batches, Batches(data.validation, 512), every=_SECONDS_AT_A_TIME):
            if report.partial:
                continue
            terms = {name.replace("kl_mc", "kl"): value for name, value in report.terms.items()}
            row = {"epoch": report.epoch, "split": report.split}
            progress.rows.append(row | {name: terms[name] for name in ("nelbo", "reconstruction", "kl") if name in terms})
            if report.split == "validation":
                model.eval()
                progress.epoch = report.epoch
                progress.over = stop.is_set() or report.epoch == lesson.epochs
                yield progress
                if progress.over:
                    return
    finally:
        _teaching.release()


_SECONDS_AT_A_TIME = 0.1  # between which others may draw


@cache
def digits() -> Data:
    """The bundled digits, black and white."""
    return load("digits", DataOptions(binarize="dynamic"))


def _parts(lesson: Lesson) -> dict[str, Any]:
    return {
        "encoder": {"name": lesson.encoder},
        "latent": {"name": "gaussian", "features": lesson.features},
        "decoder": {"name": lesson.decoder},
        "likelihood": {"name": "bernoulli"},
        "loss": {"name": "elbo", "beta": lesson.beta},
    }
