"""Training: one step, and a generator of reports over many of them."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vaekit.blocks import drawing, reseed, threads
from vaekit.choices import Batch, Choices, decide, default_validation
from vaekit.data.batches import Batches
from vaekit.errors import ConfigError, TrainingError
from vaekit.evaluation import bound, placed
from vaekit.gradients import Gradients, pieces
from vaekit.memory import keep_freed
from vaekit.model import VAE
from vaekit.optimizers import OPTIMIZERS, Optimizer
from vaekit.parts import Loss, Part
from vaekit.ranks import ALONE, Ranks
from vaekit.schedules import learning_rate
from vaekit.step import Step
from vaekit.tally import CURE, Tally
from vaekit.training import Report, TrainingOptions
from vaekit.validating import terms_of


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
    if "batch_size" in options:
        raise ConfigError("batch_size is settled by the batches")
    chosen = TrainingOptions(**options)
    if chosen.early_stop is not None and validation is None:
        raise ConfigError("early_stop looks at validation batches: give some")
    yield from Trainer(model, loss, chosen).run(batches, validation)


class Trainer:
    """What training is made of and how far it is.

    Between two reports it stands between two steps: `state` is then all that continuing exactly takes.

    Args:
        model: to train; it is moved to the device.
        loss: to minimise.
        options: of training.
        choices: what an earlier part of the same run settled; settled before the first step where there are none.
        ranks: the processes that train together.

    Attributes:
        epoch: epochs done.
        position: batches done in the epoch after these.
        steps: optimizer steps done.
        best: the lowest validation loss so far, or the negative of the highest bound.
        stale: epochs since then.
        lr: the learning rate of the last step.
        stopping: whether it has been asked to stop, and all ranks know it; `run` does not go on then.
        after_step: called after each step.
    """

    def __init__(
        self,
        model: VAE,
        loss: Loss,
        options: TrainingOptions,
        choices: Choices | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.options, self.choices, self.ranks = options, choices, ranks
        self.device = ranks.device(options.device if choices is None else choices.device)
        self.select = options.select or loss.selects
        if self.select == "bound" and not model.latent.has_density:
            raise ConfigError(f"latent {model.latent.name!r} has no density, and so no bound to select a model by: select=loss")
        if self.select == "last" and options.early_stop is not None:
            said = f"by loss {loss.name!r} the last is the best: choose what to select by, loss or bound"
            raise ConfigError(f"training: early_stop waits for a better model, and {said}")
        self.step = Step(model, loss).to(self.device)
        self.players = loss.players(model)
        self.optimizers = self._made_optimizers()
        self.epoch = self.position = self.steps = self.stale = 0
        self.best = math.inf
        self.stopping = False
        self.after_step: Callable[[], None] = lambda: None
        self._asked = False
        self._gradients: Gradients | None = None
        self._tallies = {"tally": Tally(), "norms": Tally()}
        self.lr = options.lr

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.epoch >= self.options.epochs or self._stale_enough()

    def stop(self) -> None:
        """Ask it to stop between two steps; all ranks do so after the same one."""
        self._asked = True

    def settle(self, batches: Iterable[Any]) -> Choices:
        """Choose what the options leave open, unless it was chosen before; from then on it computes so."""
        several = self.ranks.size > 1
        if self.choices is None:
            mine = self._decided(batches) if self.ranks.main else None
            self.choices = Choices(**self.ranks.broadcast(mine.model_dump() if mine else None))
            self.choices = self.choices.but(device=self.device.type if several else str(self.device))
        if self._gradients is None:
            if self.choices.memory_format == "channels_last":
                self.step.to(memory_format=torch.channels_last)
            size = -(-batches.sizes(0)[0] // self.options.accumulate) if isinstance(batches, Batches) else 0
            self._gradients = Gradients(self.step, self.choices, self.ranks, lambda: self._piece(next(iter(batches))), size)
            before, self.players = self.optimizers, self._gradients.players
            self.optimizers = self._made_optimizers()
            for name, optimizer in self.optimizers.items():
                optimizer.load(before[name].state(), self.ranks.shard)
        return self.choices

    def run(self, batches: Iterable[Any], validation: Iterable[Any] | None = None, every: float = math.inf) -> Iterator[Report]:
        """Train from where it stands to the last epoch, with a Report at least every `every` seconds."""
        keep_freed()
        self.settle(batches)
        assert self._gradients is not None
        with self._gradients.turns():
            while not self.done and not self.stopping:
                yield from self._epoch(batches, every)
                if self.stopping:
                    return
                validated = self._validated(validation) if validation is not None else None
                self.epoch, self.position = self.epoch + 1, 0
                self._tallies = {name: Tally() for name in self._tallies}
                self._talk()
                if validated is not None:
                    yield validated

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that continuing exactly takes, as tensors and as JSON values, on the main rank; all call it."""
        tensors = {f"step.{name}": self.ranks.full(tensor) for name, tensor in self.step.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            tensors |= {f"optimizer.{player}.{name}": self.ranks.full(tensor) for name, tensor in optimizer.state().items()}
        for name, tally in self._tallies.items():
            counts = torch.tensor(tally.counts, dtype=torch.int64)
            for what, tensor in (("table", tally.table), ("counts", counts), ("carried", tally.carried)):
                tensors |= {f"{name}.{rank}.{what}": own for rank, own in enumerate(self.ranks.all_gather(tensor))}
        progress: dict[str, Any] = {name: getattr(self, name) for name in _PROGRESS}
        progress["best"] = self.best if math.isfinite(self.best) else None
        progress["ranks"] = self.ranks.size
        progress["terms"] = {name: tally.names for name, tally in self._tallies.items()}
        return tensors, progress

    def load_state(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Stand where `state` was taken. All ranks call it."""
        here = self.step.state_dict()
        given = {name.removeprefix("step."): t for name, t in tensors.items() if name.startswith("step.")}
        self.step.load_state_dict({name: self.ranks.shard(t, here[name]) if name in here else t for name, t in given.items()})
        for player, optimizer in self.optimizers.items():
            start = f"optimizer.{player}."
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            optimizer.load(own, self.ranks.shard)
        for name in _PROGRESS:
            setattr(self, name, progress[name])
        self.best = math.inf if progress["best"] is None else progress["best"]
        for name in self._tallies:
            each = []
            for rank in range(progress["ranks"]):
                table, counts, carried = (tensors[f"{name}.{rank}.{what}"] for what in ("table", "counts", "carried"))
                each.append(Tally())
                each[-1].restore(progress["terms"][name], counts.tolist(), table.to(self.device), carried)
            same = progress["ranks"] == self.ranks.size
            self._tallies[name] = each[self.ranks.rank] if same else Tally.after(each, self.ranks.main)

    def leave(self) -> None:
        """Let go of what the ranks share; settling takes hold of it again."""
        self._gradients = None

    def _made_optimizers(self) -> dict[str, Optimizer]:
        kind = OPTIMIZERS[self.options.optimizer]
        return {name: kind(own, self.options.lr) for name, own in self.players.items()}

    def _piece(self, batch: Any) -> Batch:
        """The first piece of a batch, on the device."""
        x, y = placed(batch, self.step.model.context.empty)
        return pieces(x, y, min(self.options.accumulate, len(x)))[0][:2]

    def _decided(self, batches: Iterable[Any]) -> Choices:
        n = len(batches) if isinstance(batches, Sized) else 1
        alone = self.ranks.size == 1 or not any(isinstance(m, Part) and m.exchanges for m in self.step.modules())
        first = self._piece(next(iter(batches))) if isinstance(batches, Batches) and alone else None
        to_come = n * self.options.accumulate * self.options.sure_epochs
        return decide(self.step, self.options, self.device, first, to_come)

    def _epoch(self, batches: Iterable[Any], every: float) -> Iterator[Report]:
        self._to_training()
        rest = self._rest(batches)
        size = len(batches) if isinstance(batches, Sized) else 0
        start, before = time.perf_counter(), sum(self._tallies["tally"].counts)
        done = False
        while not done and not self.stopping:
            until = time.perf_counter() + every
            with self._at_work():
                for batch in rest:
                    self._batch(batch, size, self._shares(batches))
                    if self.ranks.size > 1 and self.position % _STEPS_BETWEEN_TALKS:
                        continue
                    if self._talk(until) or self.stopping:
                        break
                else:
                    done = True
                    self._talk()
            terms = self._terms()
            examples = self.ranks.size * (sum(self._tallies["tally"].counts) - before)
            speed = examples / (time.perf_counter() - start)
            share = 1.0 if done else min(self.position / size, 1.0) if size else 0.0
            yield Report(self.epoch + 1, self.steps, "train", terms, share, speed, self.lr, partial=not done)

    def _to_training(self) -> None:
        """Put all in training mode, but for parts of the model that no player trains: nothing in them may move."""
        self.step.train()
        trained = {id(parameter) for own in self.players.values() for parameter in own}
        for part in self.step.model.children():
            own = [id(parameter) for parameter in part.parameters()]
            if own and trained.isdisjoint(own):
                part.eval()

    def _talk(self, until: float = math.inf) -> bool:
        """Whether it is time to say how it stands; ranks agree on it here, and on whether to stop."""
        self.stopping, due = self.ranks.any(self._asked, self.ranks.main and time.perf_counter() > until)
        return due

    def _shares(self, batches: Iterable[Any]) -> tuple[int, float]:
        """In how many pieces every rank takes the batch to come, and the weight of this rank's mean in that over ranks, so
        that the latter is that over all examples of the batch."""
        if not isinstance(batches, Batches):
            return self.options.accumulate, 1.0
        own, n = batches.sizes(self.position)
        return min(self.options.accumulate, n // self.ranks.size), own * self.ranks.size / n

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """A block that computes as the run does, whatever goes on around it."""
        assert self.choices is not None
        alone = torch.autocast(self.device.type, enabled=False)
        with drawing(0, self.device), threads(self.choices.threads), default_validation(), alone:
            yield

    def _rest(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches of the epoch that are not done; what is random in those of others depends on their place in it."""
        if isinstance(batches, Batches):
            batches.epoch = self.epoch
            yield from batches.after(self.position)
            return
        reseed(self.device, self.options.seed, self.epoch, _ORDER)
        given, skipped = iter(batches), self.position
        for position in itertools.count():
            reseed(self.device, self.options.seed, self.epoch, position, _LOADING)
            batch = next(given, None)
            if batch is None:
                return
            if position >= skipped:
                yield batch

    def _batch(self, batch: Any, size: int, shares: tuple[int, float]) -> None:
        """One step of every player in turn, over all pieces of the batch."""
        assert self.choices is not None
        assert self._gradients is not None
        x, y = placed(batch, self.step.model.context.empty)
        self.lr = learning_rate(self.options, self.epoch, self.steps, size)
        reseed(self.device, self.options.seed, self.epoch, self.position, self.ranks.rank, _STEP)
        n, weight = shares
        taken = pieces(self.choices.layout(x), y, min(n, len(x)))
        measured = self.options.clip is not None or self.position % _STEPS_BETWEEN_NORMS == 0
        terms: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        for player, own in self.players.items():
            prefix = f"{player}." if len(self.players) > 1 else ""
            for name, value in self._gradients.of(player, taken, weight).items():
                terms[prefix + name] = value
            if measured:
                norms[f"{prefix}gradient_norm"] = self.ranks.norm(own, self.options.clip)
            optimizer = self.optimizers[player]
            optimizer.lr = self.lr
            optimizer.step()
        self.step.loss.stepped()
        self._tallies["tally"].add(terms, len(x))
        if measured:
            self._tallies["norms"].add(norms, len(x))
        self.steps += 1
        self.position += 1
        self.after_step()

    def _terms(self) -> dict[str, float]:
        """The mean of each term over the examples of the epoch so far, on all ranks."""
        means: dict[str, float] = {}
        for name, tally in self._tallies.items():
            if not tally.names:
                raise TrainingError("there are no batches to train on, or they can be iterated over only once")
            if name == "tally":
                bad = self.ranks.min(tally.first_bad())
                tally.check(bad, self.steps - len(tally.counts), self.epoch + 1)
            *sums, n = self.ranks.sum(tally.sums()).tolist()
            means |= {term: total / n for term, total in zip(tally.names, sums, strict=True)}
        return means

    def _validated(self, validation: Iterable[Any]) -> Report:
        of_loss = self.select != "bound"
        self.ranks.sync_buffers(self.step)
        with self.ranks.gathered(self.step), self._at_work():
            if of_loss:
                player = next(iter(self.players))
                terms = terms_of(self.step, player, validation, self.options.seed, self.ranks, self.options.accumulate)
            else:
                terms = bound(self.step.model, validation, seed=self.options.seed, total=self.ranks.sum)
        wrong = [name for name, value in terms.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(f"validation {wrong[0]} is not finite after step {self.steps} (epoch {self.epoch + 1}): {CURE}")
        score = terms["loss" if of_loss else "nelbo"]
        better = score < self.best or self.select == "last"
        self.best = min(self.best, score)
        self.stale = 0 if better else self.stale + 1
        return Report(self.epoch + 1, self.steps, "validation", terms, 1.0, math.nan, math.nan, better)

    def _stale_enough(self) -> bool:
        return self.options.early_stop is not None and self.stale >= self.options.early_stop


_PROGRESS = ("epoch", "position", "steps", "stale", "lr")
_ORDER, _LOADING, _STEP = 11, 12, 13
_STEPS_BETWEEN_NORMS = 16
_STEPS_BETWEEN_TALKS = 8
