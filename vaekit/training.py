"""Training: one step, and a generator of reports over many of them."""

import math
import time
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from vaekit.blocks import Randomness, drawing, evaluation, find_device
from vaekit.data.batches import Batches, epoch_seed
from vaekit.errors import ConfigError, DataError, TrainingError
from vaekit.evaluation import bound, placed
from vaekit.model import VAE
from vaekit.options import Options
from vaekit.parts import Loss
from vaekit.tally import CURE, Tally
from vaekit.trace import Terms


class TrainingOptions(Options):
    """How to train.

    Args:
        epochs: passes over the training set.
        batch_size: examples a step.
        optimizer: `adam`, or `rmsprop` with centred second moments (Graves, 2013).
        lr: learning rate; the highest one where there is a schedule.
        schedule: of the learning rate over all steps: `constant`; `cosine`, down to nothing; `one-cycle`, up and down again;
            `steps`, multiplied by `gamma` after each of `milestones`.
        milestones: epochs after which `steps` lowers the learning rate.
        gamma: what it is multiplied by then.
        clip: largest norm of the gradient of each player; none by default.
        select: which model is the best: `loss`, the one whose loss is lowest on the validation set; `bound`, whose ELBO is
            highest there, whatever the loss; `last`.
        early_stop: epochs without a better one after which to stop; none by default.
        seed: everything random depends on it.
        device: `auto` for a GPU where there is one, else a torch device.
    """

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    optimizer: Literal["adam", "rmsprop"] = "adam"
    lr: Annotated[float, Field(gt=0, le=100)] = 1e-3
    schedule: Literal["constant", "cosine", "one-cycle", "steps"] = "constant"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=1000, strict=False)] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    clip: Annotated[float, Field(gt=0)] | None = None
    select: Literal["loss", "bound", "last"] = "loss"
    early_stop: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: str = "auto"

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.schedule == "steps") != bool(self.milestones):
            given = f"schedule {self.schedule!r} with milestones {list(self.milestones)}"
            raise ConfigError(f"training: {given}; milestones are of schedule 'steps', which needs some")
        if self.select == "last" and self.early_stop is not None:
            raise ConfigError("training: early_stop waits for a better model, and with select='last' each is better")
        return self


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


def train(
    model: VAE,
    loss: Loss,
    batches: Iterable[Any],
    *,
    validation: Iterable[Any] | None = None,
    **options: Any,
) -> Iterator[Report]:
    """Train a model in place, as a generator: one Report an epoch, and one of the validation bound where there are such data.

    Args:
        model: to train; it is moved to the device.
        loss: to minimise.
        batches: of the training set, (x, y) or x; iterated once an epoch.
        validation: likewise, for what early stopping looks at.
        options: fields of TrainingOptions but `batch_size`, which the batches have settled.

    Raises:
        ConfigError: where an option is wrong.
        TrainingError: naming the term and the step where something is not finite.
    """
    chosen = TrainingOptions(**options)
    if "batch_size" in options:
        raise ConfigError("batch_size is settled by the batches")
    if chosen.early_stop is not None and validation is None:
        raise ConfigError("early_stop looks at validation batches: give some")
    yield from Trainer(model, loss, chosen).run(batches, validation)


class Step(nn.Module):
    """One step's forward pass as one module, so that a single wrapper sees everything: (x, y, player) to Terms."""

    def __init__(self, model: VAE, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, x: Tensor, y: Tensor | None, player: str) -> Terms:
        c = self.model.context(y, x.shape[0])
        terms: Terms = self.loss(self.model, x, c, player)
        return terms


class Trainer:
    """What training is made of and how far it is.

    Attributes:
        epoch: epochs done.
        steps: optimizer steps done.
        best: the lowest validation loss so far, or the negative of the highest bound.
        stale: epochs since then.
    """

    def __init__(self, model: VAE, loss: Loss, options: TrainingOptions) -> None:
        self.options = options
        self.device = find_device(options.device)
        self.step = Step(model, loss).to(self.device)
        self.players = loss.players(model)
        self.optimizers = {name: _optimizer(own, options) for name, own in self.players.items()}
        self.epoch = self.steps = self.stale = 0
        self.best = math.inf
        self._lr = options.lr
        self._turn = ""

    def run(self, batches: Iterable[Any], validation: Iterable[Any] | None = None, every: float = math.inf) -> Iterator[Report]:
        """Train from where it stands to the last epoch, with a Report at least every `every` seconds."""
        flags = [(p, p.requires_grad) for p in self.step.parameters()]
        try:
            while self.epoch < self.options.epochs and not self._stale_enough():
                yield from self._epoch(batches, every)
                self.epoch += 1
                if validation is not None:
                    yield self._validated(validation)
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            self._turn = ""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that continuing exactly takes, as tensors and as JSON values."""
        tensors = {f"step.{name}": tensor for name, tensor in self.step.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer.{player}.{index}.{slot}": tensor for slot, tensor in slots.items()}
        return tensors, {"epoch": self.epoch, "steps": self.steps, "stale": self.stale, "best": self.best}

    def load_state(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Stand where `state` was taken."""
        self.step.load_state_dict({k.removeprefix("step."): v for k, v in tensors.items() if k.startswith("step.")})
        for player, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith(f"optimizer.{player}."):
                    index, slot = name.removeprefix(f"optimizer.{player}.").split(".")
                    slots.setdefault(int(index), {})[slot] = tensor
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        self.epoch, self.steps, self.stale, self.best = (progress[key] for key in ("epoch", "steps", "stale", "best"))

    def _epoch(self, batches: Iterable[Any], every: float) -> Iterator[Report]:
        self.step.train()
        if isinstance(batches, Batches):
            batches.epoch = self.epoch
        randomness = Randomness(epoch_seed(self.options.seed, self.epoch), self.device)
        with randomness:
            rest = iter(batches)
        tally = Tally()
        start = time.perf_counter()
        size = len(batches) if isinstance(batches, Sized) else 0
        done = False
        while not done:
            until = time.perf_counter() + every
            with randomness:
                for batch in rest:
                    self._batch(batch, tally, size)
                    if time.perf_counter() > until:
                        break
                else:
                    done = True
            terms = tally.means(self.epoch + 1)
            speed = tally.examples / (time.perf_counter() - start)
            share = 1.0 if done else min(tally.batches / size, 1.0) if size else 0.0
            yield Report(self.epoch + 1, self.steps, "train", terms, share, speed, self._lr, partial=not done)

    def _batch(self, batch: Any, tally: Tally, size: int) -> None:
        x, y = placed(batch, self.step.model.context.empty)
        self._lr = self._scheduled(size)
        self.steps += 1
        reported: dict[str, Tensor] = {}
        for player, own in self.players.items():
            self._give_gradients_to(player)
            optimizer = self.optimizers[player]
            optimizer.param_groups[0]["lr"] = self._lr
            optimizer.zero_grad(set_to_none=True)
            terms: Terms = self.step(x, y, player)
            terms.loss.backward()
            parts = {"loss": terms.loss.detach(), **terms.parts}
            if self.options.clip is not None:
                parts["gradient_norm"] = nn.utils.clip_grad_norm_(own, self.options.clip)
            optimizer.step()
            prefix = f"{player}." if len(self.players) > 1 else ""
            reported |= {prefix + name: part for name, part in parts.items()}
        tally.add(reported, len(x), self.steps)

    def _validated(self, validation: Iterable[Any]) -> Report:
        terms = self._terms_of(validation) if self.options.select == "loss" else self._bound(validation)
        wrong = [name for name, value in terms.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(f"validation {wrong[0]} is not finite after step {self.steps} (epoch {self.epoch}): {CURE}")
        score = terms["loss" if self.options.select == "loss" else "nelbo"]
        better = score < self.best or self.options.select == "last"
        self.best = min(self.best, score)
        self.stale = 0 if better else self.stale + 1
        return Report(self.epoch, self.steps, "validation", terms, 1.0, math.nan, math.nan, better)

    def _bound(self, validation: Iterable[Any]) -> dict[str, float]:
        return bound(self.step.model, validation, seed=self.options.seed)

    def _terms_of(self, validation: Iterable[Any]) -> dict[str, float]:
        """The loss of the first player, and the bound: as the loss reports it at the same draws, or else by itself."""
        sums: dict[str, float] = {}
        n = 0
        with evaluation(self.step), drawing(self.options.seed, self.device):
            for batch in validation:
                x, y = placed(batch, self.step.model.context.empty)
                terms: Terms = self.step(x, y, next(iter(self.players)))
                parts = {"loss": terms.loss.detach(), **terms.parts}
                for name, value in zip(parts, torch.stack([part.double() for part in parts.values()]).tolist(), strict=True):
                    sums[name] = sums.get(name, 0.0) + value * len(x)
                n += len(x)
        if not n:
            raise DataError("there are no examples to validate on")
        means = {name.replace("kl_mc", "kl"): value / n for name, value in sums.items()}
        whole = all(name in means for name in _BOUND)
        return {"loss": means["loss"], **({name: means[name] for name in _BOUND} if whole else self._bound(validation))}

    def _stale_enough(self) -> bool:
        return self.options.early_stop is not None and self.stale >= self.options.early_stop

    def _give_gradients_to(self, player: str) -> None:
        """Only the parameters of the player whose turn it is gather gradients, so that no player moves another's."""
        if player == self._turn:
            return
        self._turn = player
        own = {id(p) for p in self.players[player]}
        for parameter in self.step.parameters():
            parameter.requires_grad_(id(parameter) in own)

    def _scheduled(self, steps_an_epoch: int) -> float:
        """The learning rate of the step to come: a function of how many there have been, so that it needs no state."""
        lr, schedule = self.options.lr, self.options.schedule
        if schedule == "constant":
            return lr
        if schedule == "steps":
            return lr * self.options.gamma ** sum(epoch <= self.epoch for epoch in self.options.milestones)
        if not steps_an_epoch:
            raise ConfigError(f"schedule {schedule!r} needs batches with a length")
        t = min(self.steps / (steps_an_epoch * self.options.epochs), 1.0)
        if schedule == "one-cycle" and t < _WARM_UP:
            return lr * (0.04 + 0.96 * _cosine(1 - t / _WARM_UP))
        return lr * _cosine(t if schedule == "cosine" else (t - _WARM_UP) / (1 - _WARM_UP))


def _optimizer(parameters: list[nn.Parameter], options: TrainingOptions) -> torch.optim.Optimizer:
    if options.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=options.lr, centered=True)
    return torch.optim.Adam(parameters, lr=options.lr, fused=True)


_BOUND = ("nelbo", "reconstruction", "kl")
_WARM_UP = 0.3  # of the steps of a one-cycle schedule


def _cosine(t: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * t))
