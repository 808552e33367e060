"""What losses are held to besides, beside a textbook model."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from vaekit.testing.case import Case, require
from vaekit.testing.outcomes import NotApplicable
from vaekit.trace import Trace
from vaekit.trainer import train

_KNOWN: dict[str, Callable[[Trace], Tensor]] = {
    "reconstruction": lambda trace: -trace.log_px(),
    "kl": lambda trace: trace.kl(),
    "kl_mc": lambda trace: trace.kl(),
    "nelbo": lambda trace: -trace.elbo(),
}
_RUNS = 200
_EPOCHS = 400


def check_terms_are_finite(case: Case) -> None:
    """The loss and its parts are finite, and the parts carry no gradient."""
    for bench in _benches(case, training=True):
        for player in bench.players:
            terms = bench.part(bench.model, *bench.inputs(5), player)
            require(bool(terms.parts), f"player {player!r} reports no parts: say what the loss is made of, in nats per example")
            for name, value in {"loss": terms.loss, **terms.parts}.items():
                require(bool(value.isfinite()), f"{name} of player {player!r} is {value.item()}")
                require(name == "loss" or not value.requires_grad, f"{name} of player {player!r} carries gradients: detach it")
            require(terms.loss.requires_grad, f"the loss of player {player!r} has no gradient")


def check_parts_are_in_nats(case: Case) -> None:
    """What it calls `reconstruction`, `kl` or `nelbo` is what the Trace says: a sum over dimensions, a mean over examples."""
    compared = 0
    for bench in _benches(case):
        x, c = bench.inputs(8)
        there = _means(_of_trace, bench, x, c)
        for player in bench.players:
            told = _means(_parts, bench, x, c, player)
            for name in there.keys() & told.keys():
                require(
                    _near(told[name], there[name]),
                    f"{name} is {told[name][0]:.4g}, where the Trace says {there[name][0]:.4g} nats per example: sum over "
                    f"dimensions, then take the mean over examples",
                )
                compared += 1
    if not compared:
        raise NotApplicable(f"it reports none of {', '.join(_KNOWN)}, so there is nothing to compare")


def check_players_are_disjoint(case: Case) -> None:
    """Each player owns parameters that no other owns, and its loss reaches every one of them and no other's."""
    for bench in _benches(case, training=True):
        owners: dict[int, str] = {}
        names = {id(p): name for name, p in bench.named_parameters()}
        for player, own in bench.players.items():
            require(bool(own), f"player {player!r} owns no parameters")
            for parameter in own:
                name = names.get(id(parameter))
                require(name is not None, f"a parameter of player {player!r} is neither the model's nor the loss's")
                other = owners.setdefault(id(parameter), player)
                require(other == player, f"{name} is owned by both {other!r} and {player!r}")
        for player, own in bench.players.items():
            for parameter in bench.parameters():
                parameter.requires_grad_(owners.get(id(parameter)) == player)
                parameter.grad = None
            loss = bench.part(bench.model, *bench.inputs(8), player).loss
            require(loss.requires_grad, f"the loss of player {player!r} has no gradient where only its own parameters have one")
            loss.backward()
            for parameter in own:
                require(parameter.grad is not None, f"the loss of player {player!r} does not reach its {names[id(parameter)]}")
            strangers = [name for name, p in bench.named_parameters() if p.grad is not None and owners[id(p)] != player]
            require(not strangers, f"the loss of player {player!r} reaches {', '.join(strangers[:3])}")


def check_batch_doubling(case: Case) -> None:
    """Every example twice changes nothing per example, but for draws."""
    for bench in _benches(case):
        x, c = bench.inputs(8)
        for player in bench.players:
            once = _means(_loss, bench, x, c, player)["loss"]
            twice = _means(_loss, bench, torch.cat([x, x]), torch.cat([c, c]), player)["loss"]
            require(
                _near(once, twice),
                f"the loss of player {player!r} is {once[0]:.4g}, and {twice[0]:.4g} with every example twice: take the mean "
                f"over the batch, not the sum; where it is of the batch as a whole, say so in expected_failures",
            )


def check_overfits_eight_points(case: Case) -> None:
    """Trained on eight examples, the model reconstructs them; a loss that does not train the decoder falls."""
    bench = next(iter(_benches(case, training=True)))
    model, part = bench.model, bench.part
    x, _ = bench.inputs(8)
    decoder = {id(p) for p in model.decoder.parameters()}
    trained = any(id(p) in decoder for own in bench.players.values() for p in own)
    reports = list(train(model, part, [x], epochs=_EPOCHS, lr=1e-2, device="cpu"))
    if trained:
        right = (model.reconstruct(x, y=None).round() == x).double().mean().item()
        require(right > 0.95, f"after {_EPOCHS} steps on eight examples {right:.0%} of their numbers are reconstructed")
    else:
        losses = [name for name in reports[0].terms if name.endswith("loss")]
        ends = reports[: _EPOCHS // 10], reports[-_EPOCHS // 10 :]  # each step draws
        falls = {name: [sum(report.terms[name] for report in end) / len(end) for end in ends] for name in losses}
        for name, (first, last) in falls.items():
            require(last < first, f"after {_EPOCHS} steps on eight examples {name} went from {first:.4g} to {last:.4g}")


def _benches(case: Case, training: bool = False) -> Iterator[Any]:
    """One bench for each width of context: what follows takes many runs."""
    for wiring in case.fewest:
        yield case.bench(wiring, training=training)


def _loss(bench: Any, x: Tensor, c: Tensor, player: str) -> dict[str, Tensor]:
    return {"loss": bench.part(bench.model, x, c, player).loss}


def _parts(bench: Any, x: Tensor, c: Tensor, player: str) -> dict[str, Tensor]:
    parts: dict[str, Tensor] = bench.part(bench.model, x, c, player).parts
    return parts


def _of_trace(bench: Any, x: Tensor, c: Tensor) -> dict[str, Tensor]:
    trace = bench.model(x, c)
    return {name: known(trace).mean() for name, known in _KNOWN.items()}


def _means(values: Callable[..., dict[str, Tensor]], *arguments: Any) -> dict[str, tuple[float, float]]:
    """Mean and standard error of scalars that draw, over many runs."""
    runs = [values(*arguments) for _ in range(_RUNS)]
    found = {name: torch.stack([run[name].detach().double() for run in runs]) for name in runs[0]}
    return {name: (drawn.mean().item(), (drawn.std() / math.sqrt(_RUNS)).item()) for name, drawn in found.items()}


def _near(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two means are within five standard errors of each other."""
    return abs(one[0] - other[0]) <= 5 * math.hypot(one[1], other[1]) + 1e-4 * (1 + abs(other[0]))
