"""What is asked of training, and how it tells how it stands."""

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vaekit.errors import ConfigError
from vaekit.options import Options


class TrainingOptions(Options):
    """How to train.

    Args:
        epochs: passes over the training set.
        batch_size: examples a step: on all ranks, and in all pieces of a step, together.
        accumulate: pieces that the examples of a step are taken in, one after the other, where memory is short; their gradients
            add up.
        optimizer: `adam`, or `rmsprop` with centred second moments (Graves, 2013).
        lr: learning rate; the highest one where there is a schedule.
        schedule: of the learning rate over all steps: `constant`; `cosine`, down to nothing; `one-cycle`, up and down again;
            `steps`, multiplied by `gamma` after each of `milestones`.
        milestones: epochs after which `steps` lowers the learning rate.
        gamma: what it is multiplied by then.
        clip: largest norm of the gradient of each player; none by default.
        select: which model is the best: `loss`, the one whose loss is lowest on the validation set; `bound`, whose ELBO is
            highest there, whatever the loss; `last`. By default what the loss says: `last` for adversarial ones, else `loss`.
        early_stop: epochs without a better one after which to stop; none by default.
        seed: everything random depends on it.
        device: `auto` for a GPU where there is one, else a torch device.
        precision: `fp32`; `bf16`, by autocast, with parameters, densities and reductions in float32; `auto` for bf16 where the
            device multiplies in it.
        compile: whether to compile the step: `on`, `off`, or `auto` where so many steps are to come that it is repaid.
        memory_format: of images and convolutions: `contiguous`, `channels_last`, or `auto` for the faster one, by trying both.
        threads: of the CPU, that torch computes on; as many as torch is told to by default.
        strategy: of several ranks: `ddp`, a copy of the model on each; `fsdp`, the model in shards, one on each.
    """

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    accumulate: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: Annotated[float, Field(gt=0, le=100)] = 1e-3
    schedule: Literal["constant", "cosine", "one-cycle", "steps"] = "constant"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=1000, strict=False)] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = None
    select: Literal["loss", "bound", "last"] | None = None
    early_stop: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    strategy: Literal["ddp", "fsdp"] = "ddp"

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.schedule == "steps") != bool(self.milestones):
            given = f"schedule {self.schedule!r} with milestones {list(self.milestones)}"
            raise ConfigError(f"training: {given}; milestones are of schedule 'steps', which needs some")
        if self.select == "last" and self.early_stop is not None:
            raise ConfigError("training: early_stop waits for a better model, and with select='last' each is better")
        if self.accumulate > self.batch_size:
            raise ConfigError(f"training: {self.batch_size} examples a step cannot be taken in {self.accumulate} pieces")
        return self

    @property
    def sure_epochs(self) -> int:
        """Epochs that there will be however early training stops."""
        return self.epochs if self.early_stop is None else min(self.epochs, self.early_stop + 1)


@dataclass(frozen=True)
class Report:
    """How training stands.

    Args:
        epoch: the number of the epoch, from 1.
        step: optimizer steps so far.
        split: `train`, over the epoch so far; or `validation`, at the end of it.
        terms: means over the examples, in nats per example.
        done: the share of the epoch that is done.
        images_per_second: in training, since the epoch began.
        lr: the learning rate of the last step.
        best: whether the model is the best so far.
        partial: whether the epoch is still going on.
    """

    epoch: int
    step: int
    split: Literal["train", "validation"]
    terms: dict[str, float]
    done: float
    images_per_second: float
    lr: float
    best: bool = False
    partial: bool = False
