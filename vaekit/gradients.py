"""Gradients of a step, as a run computes them: over all ranks, in pieces, compiled, in its precision and memory format."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from vaekit.blocks import drawing
from vaekit.choices import Batch, Choices, default_validation, of_compiler
from vaekit.errors import TrainingError, short
from vaekit.ranks import Ranks
from vaekit.step import Step
from vaekit.trace import Terms


class Gradients:
    """Gives the parameters of a player the gradients of its loss, and those of no other player.

    Args:
        step: of training; its parameters may be others afterwards.
        choices: how to compute.
        ranks: that compute together.
        batch: one of the training set, placed; not looked at by one process alone.
        size: of the pieces of whole batches; smaller ones are not compiled anew for. 0 where it is not known.

    Attributes:
        players: the parameters that each player owns; shards of them where they are sharded.
    """

    def __init__(self, step: Step, choices: Choices, ranks: Ranks, batch: Callable[[], Batch], size: int) -> None:
        self.players = step.loss.players(step.model)
        self._step, self._choices, self._ranks, self._size = step, choices, ranks, size
        self._turn = ""
        self._plain: nn.Module = step
        if ranks.size > 1:
            self._wrap(batch)
        with default_validation():
            self._fast = choices.compiled(self._plain)
        self._graphs = choices.compile and torch.device(choices.device).type == "cuda"

    @contextmanager
    def turns(self) -> Iterator[None]:
        """A block after which the same parameters want gradients as before."""
        flags = [(p, p.requires_grad) for p in self._step.parameters()]
        try:
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
            self._turn = ""

    def of(self, player: str, pieces: Sequence[tuple[Tensor, Tensor | None, float]], weight: float) -> dict[str, Tensor]:
        """The terms of a player, means over all pieces of a batch; its parameters get the gradients.

        Args:
            player: whose turn it is.
            pieces: x, y and their share of the batch.
            weight: of this rank's mean in the mean over ranks.
        """
        self._give_turn(player)
        for parameter in self.players[player]:
            parameter.grad = None
        terms: dict[str, Tensor] = {}
        for i, (x, y, share) in enumerate(pieces):
            with self._ranks.no_sync(self._plain) if i < len(pieces) - 1 else nullcontext():
                forward = self._plain if len(x) < self._size else self._compiled
                with self._choices.autocast():
                    found: Terms = forward(x, y, player)
                self._ranks.backward(found.loss if share * weight == 1 else found.loss * (share * weight))
            reported = {"loss": found.loss.detach(), **found.parts}
            if share != 1:
                terms = {name: terms.get(name, 0) + share * value for name, value in reported.items()}
            else:  # CUDA graphs write to the same memory again
                terms = {name: value.clone() for name, value in reported.items()} if self._graphs else reported
        return terms

    def _compiled(self, x: Tensor, y: Tensor | None, player: str) -> Terms:
        try:
            found: Terms = self._fast(x, y, player)
        except Exception as error:
            if not of_compiler(error):
                raise
            raise TrainingError(f"the step cannot be compiled here, train with --compile off: {short(error, 200)}") from error
        return found

    def _wrap(self, batch: Callable[[], Batch]) -> None:
        names = {id(p): name for name, p in self._step.named_parameters()}
        owned = {player: [names[id(p)] for p in own] for player, own in self.players.items()}
        alone = len(self.players) == 1
        with self.turns():
            if alone:  # others must not want gradients when it is wrapped, which waits for those that do
                self._give_turn(next(iter(self.players)))
            reached = not self._ranks.sharded and alone and self._reaches_all(*batch())
            self._plain = self._ranks.wrapped(self._step, reached)
            if reached:
                self._order_buckets(*batch())
        parameters = dict(self._step.named_parameters())
        self.players = {player: [parameters[name] for name in own] for player, own in owned.items()}

    def _reaches_all(self, x: Tensor, y: Tensor | None) -> bool:
        """Whether a backward pass of the only player reaches all of its parameters, by trying it on a copy of the step."""
        step = copy.deepcopy(self._step)
        with drawing(0, x.device):
            step(x, y, next(iter(self.players))).loss.backward()
        return all(p.grad is not None for p in step.parameters() if p.requires_grad)

    def _order_buckets(self, x: Tensor, y: Tensor | None) -> None:
        """A pass that counts for nothing, after which DDP exchanges gradients in the order in which they are ready: from the
        first step on then, and from the first after a resume, so that they add up alike."""
        before = [(tensor, tensor.detach().clone()) for tensor in (*self._step.parameters(), *self._step.buffers())]
        with drawing(0, x.device):
            self._plain(x, y, next(iter(self.players))).loss.backward()
        with torch.no_grad():
            for tensor, value in before:  # a codebook changes in the pass itself
                tensor.copy_(value)
        for parameter in self._step.parameters():
            parameter.grad = None

    def _give_turn(self, player: str) -> None:
        """Only the parameters of the player whose turn it is gather gradients, so that no player moves another's."""
        if player == self._turn:
            return
        self._turn = player
        own = {id(p) for p in self.players[player]}
        for parameter in self._step.parameters():
            parameter.requires_grad_(id(parameter) in own)


def pieces(x: Tensor, y: Tensor | None, n: int) -> list[tuple[Tensor, Tensor | None, float]]:
    """A batch in n pieces of equal size but for one example, each with its share of the examples."""
    if n == 1:
        return [(x, y, 1.0)]
    labels = [None] * n if y is None else y.tensor_split(n)
    return [(piece, label, len(piece) / len(x)) for piece, label in zip(x.tensor_split(n), labels, strict=True)]
