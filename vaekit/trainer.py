"""Training: one step, and a generator of reports over many of them."""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.blocks import drawing, reseed, threads
from vaekit.choices import Choices, decide, default_validation
from vaekit.data.batches import Batches
from vaekit.errors import ConfigError, TrainingError
from vaekit.evaluation import bound, placed
from vaekit.model import VAE
from vaekit.optimizers import OPTIMIZERS
from vaekit.parts import Loss
from vaekit.ranks import ALONE, Ranks
from vaekit.schedules import learning_rate
from vaekit.step import Step
from vaekit.tally import CURE, Tally
from vaekit.trace import Terms
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
        stopping: whether to stop after the present step; `run` does not go on while it is true.
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
        self.step = Step(model, loss).to(self.device)
        self.players = loss.players(model)
        self.optimizers = {name: OPTIMIZERS[options.optimizer](own, options.lr) for name, own in self.players.items()}
        self.epoch = self.position = self.steps = self.stale = 0
        self.best = math.inf
        self.stopping = False
        self.after_step: Callable[[], None] = lambda: None
        self._plain: Callable[..., Terms] | None = None
        self._forward: Callable[..., Terms] | None = None
        self._whole = 0
        self._tallies = {"tally": Tally(), "norms": Tally()}
        self.lr = options.lr
        self._turn = ""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.epoch >= self.options.epochs or self._stale_enough()

    def settle(self, batches: Iterable[Any]) -> Choices:
        """Choose what the options leave open, unless it was chosen before; from then on it computes so."""
        if self.choices is None:
            mine = self._decided(batches) if self.ranks.main else None
            self.choices = Choices(**self.ranks.told(mine.model_dump() if mine else None))
            self.choices = self.choices.but(device=str(self.device))
        if self._forward is None:
            if self.choices.memory_format == "channels_last":
                self.step.to(memory_format=torch.channels_last)
                for optimizer in self.optimizers.values():
                    optimizer.load(optimizer.state(), self.ranks.like)
            self._plain = self._wrapped(batches)
            with default_validation():
                self._forward = self.choices.compiled(self._plain)
        return self.choices

    def run(self, batches: Iterable[Any], validation: Iterable[Any] | None = None, every: float = math.inf) -> Iterator[Report]:
        """Train from where it stands to the last epoch, with a Report at least every `every` seconds."""
        self.settle(batches)
        flags = [(p, p.requires_grad) for p in self.step.parameters()]
        try:
            while not self.done and not self.stopping:
                yield from self._epoch(batches, every)
                if self.stopping:
                    return
                validated = self._validated(validation) if validation is not None else None
                self.epoch, self.position = self.epoch + 1, 0
                self._tallies = {name: Tally() for name in self._tallies}
                if validated is not None:
                    yield validated
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            self._turn = ""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that continuing exactly takes, as tensors and as JSON values. All ranks call it."""
        tensors = {f"step.{name}": self.ranks.whole(tensor) for name, tensor in self.step.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            tensors |= {f"optimizer.{player}.{name}": self.ranks.whole(tensor) for name, tensor in optimizer.state().items()}
        for name, tally in self._tallies.items():
            for what, tensor in (("table", tally.table), ("counts", torch.tensor(tally.counts, dtype=torch.int64))):
                tensors |= {f"{name}.{rank}.{what}": own for rank, own in enumerate(self.ranks.of_each(tensor))}
        progress: dict[str, Any] = {name: getattr(self, name) for name in _PROGRESS}
        progress["best"] = self.best if math.isfinite(self.best) else None
        progress["ranks"] = self.ranks.size
        progress["terms"] = {name: tally.names for name, tally in self._tallies.items()}
        return tensors, progress

    def load_state(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Stand where `state` was taken. All ranks call it."""
        here = self.step.state_dict()
        given = {name.removeprefix("step."): t for name, t in tensors.items() if name.startswith("step.")}
        self.step.load_state_dict({name: self.ranks.like(t, here[name]) if name in here else t for name, t in given.items()})
        for player, optimizer in self.optimizers.items():
            start = f"optimizer.{player}."
            own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
            optimizer.load(own, self.ranks.like)
        for name in _PROGRESS:
            setattr(self, name, progress[name])
        self.best = math.inf if progress["best"] is None else progress["best"]
        for name, tally in self._tallies.items():
            table, counts = (
                _own_of([tensors[f"{name}.{rank}.{what}"] for rank in range(progress["ranks"])], self.ranks)
                for what in ("table", "counts")
            )
            tally.restore(progress["terms"][name], counts.tolist(), table.to(self.device))

    def leave(self) -> None:
        """Let go of what the ranks share; settling takes hold of it again."""
        self._plain = self._forward = None

    def _wrapped(self, batches: Iterable[Any]) -> nn.Module:
        """The step as all ranks together compute it; its parameters may be shards then, which players and optimizers follow."""
        if self.ranks.size == 1:
            return self.step
        names = {id(p): name for name, p in self.step.named_parameters()}
        owned = {player: [names[id(p)] for p in own] for player, own in self.players.items()}
        alone = next(iter(self.players)) if len(self.players) == 1 else ""
        if alone:
            self._give_gradients_to(alone)
        wrapped = self.ranks.wrapped(self.step, reached=bool(alone) and self._reaches_all(batches))
        parameters = dict(self.step.named_parameters())
        self.players = {player: [parameters[name] for name in own] for player, own in owned.items()}
        kind = OPTIMIZERS[self.options.optimizer]
        self.optimizers = {name: kind(own, self.options.lr) for name, own in self.players.items()}
        self._turn = ""
        return wrapped

    def _reaches_all(self, batches: Iterable[Any]) -> bool:
        """Whether a backward pass of the only player reaches all of its parameters, by trying it on a copy of the step."""
        step = copy.deepcopy(self.step)
        x, y = placed(next(iter(batches)), step.model.context.empty)
        with drawing(0, self.device):
            step(x, y, next(iter(self.players))).loss.backward()
        return all(p.grad is not None for p in step.parameters() if p.requires_grad)

    def _decided(self, batches: Iterable[Any]) -> Choices:
        n = len(batches) if isinstance(batches, Sized) else 1
        first = next(iter(batches)) if isinstance(batches, Batches) else None
        return decide(self.step, self.options, self.device, first, n * self.options.sure_epochs)

    def _epoch(self, batches: Iterable[Any], every: float) -> Iterator[Report]:
        self.step.train()
        rest = self._rest(batches)
        size = len(batches) if isinstance(batches, Sized) else 0
        self._whole = -(-batches.sizes(0)[0] // self.options.accumulate) if isinstance(batches, Batches) else 0
        start, before = time.perf_counter(), self.ranks.size * sum(self._tallies["tally"].counts)
        done = False
        while not done and not self.stopping:
            until = time.perf_counter() + every
            with self._at_work():
                for batch in rest:
                    self._batch(batch, size, self._weight(batches))
                    if self._pauses(until):
                        break
                else:
                    done = True
            terms, examples = self._terms()
            speed = (examples - before) / (time.perf_counter() - start)
            share = 1.0 if done else min(self.position / size, 1.0) if size else 0.0
            yield Report(self.epoch + 1, self.steps, "train", terms, share, speed, self.lr, partial=not done)

    def _weight(self, batches: Iterable[Any]) -> float:
        """Of this rank's mean in the mean over ranks, so that the latter is that over all examples of the batch."""
        if self.ranks.size == 1 or not isinstance(batches, Batches):
            return 1.0
        own, n = batches.sizes(self.position)
        return own * self.ranks.size / n

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

    def _batch(self, batch: Any, size: int, weight: float = 1.0) -> None:
        """One step of every player in turn: gradients for its own parameters only, over all pieces of the batch."""
        assert self.choices is not None
        x, y = placed(batch, self.step.model.context.empty)
        self.lr = learning_rate(self.options, self.epoch, self.steps, size)
        reseed(self.device, self.options.seed, self.epoch, self.position, self.ranks.rank, _STEP)
        pieces = _pieces(self.choices.layout(x), y, self.options.accumulate)
        measured = self.options.clip is not None or self.position % _STEPS_BETWEEN_NORMS == 0
        terms: dict[str, Tensor] = {}
        norms: dict[str, Tensor] = {}
        for player, own in self.players.items():
            self._give_gradients_to(player)
            for parameter in own:
                parameter.grad = None
            prefix = f"{player}." if len(self.players) > 1 else ""
            for name, value in self._backward(player, pieces, weight).items():
                terms[prefix + name] = value
            if measured:
                norms[f"{prefix}gradient_norm"] = self.ranks.norm(own, self.options.clip)
            optimizer = self.optimizers[player]
            optimizer.lr = self.lr
            optimizer.step()
        self._tallies["tally"].add(terms, len(x))
        if measured:
            self._tallies["norms"].add(norms, len(x))
        self.steps += 1
        self.position += 1
        self.after_step()

    def _backward(self, player: str, pieces: list[tuple[Tensor, Tensor | None, float]], weight: float) -> dict[str, Tensor]:
        """Gradients of the loss of a player over all pieces, and its terms, means over their examples."""
        assert self.choices is not None
        assert self._plain is not None
        assert self._forward is not None
        reported: dict[str, Tensor] = {}
        for i, (x, y, share) in enumerate(pieces):
            with self.ranks.apart(self._plain, i < len(pieces) - 1):
                forward = self._plain if len(x) < self._whole else self._forward  # the last batch is not compiled anew for
                with self.choices.autocast():
                    terms: Terms = forward(x, y, player)
                self.ranks.backward(terms.loss if share * weight == 1 else terms.loss * (share * weight))
            found = {"loss": terms.loss.detach(), **terms.parts}
            reported = found if share == 1 else {name: reported.get(name, 0) + share * value for name, value in found.items()}
        return reported

    def _pauses(self, until: float) -> bool:
        """Whether to say how it stands, or to stop; ranks agree on it, at every few steps."""
        if self.ranks.size == 1:
            return self.stopping or time.perf_counter() > until
        if self.position % _STEPS_BETWEEN_TALKS:
            return False
        self.stopping, pauses = self.ranks.any(self.stopping, self.ranks.main and time.perf_counter() > until)
        return self.stopping or pauses

    def _terms(self) -> tuple[dict[str, float], float]:
        """The mean of each term over the examples of the epoch so far, on all ranks, and how many these are."""
        means: dict[str, float] = {}
        examples = 0.0
        for name, tally in self._tallies.items():
            if not tally.counts:
                raise TrainingError("there are no batches to train on, or they can be iterated over only once")
            if name == "tally":
                bad = self.ranks.least(tally.first_bad())
                tally.check(bad, self.steps - len(tally.counts), self.epoch + 1)
            *sums, n = self.ranks.sum(tally.sums()).tolist()
            means |= {term: total / n for term, total in zip(tally.names, sums, strict=True)}
            examples = examples or n
        return means, examples

    def _validated(self, validation: Iterable[Any]) -> Report:
        of_loss = self.options.select == "loss"
        with self.ranks.gathered(self.step), self._at_work():
            if of_loss:
                terms = terms_of(self.step, next(iter(self.players)), validation, self.options.seed, self.ranks)
            else:
                terms = bound(self.step.model, validation, seed=self.options.seed, total=self.ranks.sum)
        wrong = [name for name, value in terms.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(f"validation {wrong[0]} is not finite after step {self.steps} (epoch {self.epoch + 1}): {CURE}")
        score = terms["loss" if of_loss else "nelbo"]
        better = score < self.best or self.options.select == "last"
        self.best = min(self.best, score)
        self.stale = 0 if better else self.stale + 1
        return Report(self.epoch + 1, self.steps, "validation", terms, 1.0, math.nan, math.nan, better)

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


def _pieces(x: Tensor, y: Tensor | None, n: int) -> list[tuple[Tensor, Tensor | None, float]]:
    """A batch in at most n pieces, each with its share of the examples."""
    if n == 1:
        return [(x, y, 1.0)]
    labels = [None] * n if y is None else y.chunk(n)
    return [(piece, label, len(piece) / len(x)) for piece, label in zip(x.chunk(n), labels, strict=False)]


def _own_of(each: list[Tensor], ranks: Ranks) -> Tensor:
    """What a rank goes on from, of what each had: its own, or where there were more or fewer ranks all of it, on the first."""
    if len(each) == ranks.size:
        return each[ranks.rank]
    return torch.cat(each) if ranks.main else each[0][:0]


_PROGRESS = ("epoch", "position", "steps", "stale", "lr")
_ORDER, _LOADING, _STEP = 11, 12, 13
_STEPS_BETWEEN_NORMS = 16
_STEPS_BETWEEN_TALKS = 8
