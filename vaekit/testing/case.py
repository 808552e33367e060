"""A part to be checked: its options, the ways to wire it, and benches of it."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import ShapeError
from vaekit.parts import Part
from vaekit.schema import validate
from vaekit.shapes import Shape
from vaekit.testing.benches import SHAPES, Bench, Inputs, Wiring, bench, wirings
from vaekit.testing.outcomes import CheckFailed, NotApplicable


class Case:
    """A part with options, and what is known of it.

    Args:
        part: the class.
        options: where they are not the defaults.
        shapes: of the data that it is tried on.

    Attributes:
        at: what is being looked at, to tell with a failure.
    """

    def __init__(self, part: type[Part], options: Mapping[str, Any] | None = None, shapes: tuple[Shape, ...] = SHAPES) -> None:
        self.part, self.given, self.shapes = part, dict(options or {}), shapes
        self.at = ""

    @property
    def options(self) -> dict[str, Any]:
        """The options as the constructor takes them."""
        return validate(self.part, self.given)

    @cached_property
    def tried(self) -> list[tuple[Wiring, Exception | None]]:
        """Every way to wire the part, and what came of it."""
        return [(wiring, self._try(wiring)) for wiring in wirings(self.part.kind, self.shapes)]

    @property
    def accepted(self) -> list[Wiring]:
        """The ways of wiring that the part takes."""
        return [wiring for wiring, error in self.tried if error is None]

    @cached_property
    def few(self) -> list[Wiring]:
        """One way for each width of context and each rank of the shapes.

        Raises:
            NotApplicable: where the part takes none.
        """
        found = {(wiring.width, wiring.ranks): wiring for wiring in reversed(self.accepted)}
        if not found:
            raise NotApplicable("it could not be built in any way: see takes-shapes")
        return list(found.values())[::-1]

    @cached_property
    def fewest(self) -> list[Wiring]:
        """One way for each width of context, for what takes long."""
        return list({wiring.width: wiring for wiring in reversed(self.few)}.values())[::-1]

    def bench(self, wiring: Wiring, seed: int = 0, training: bool = False) -> Any:
        """The part wired so, with parameters that depend on `seed`."""
        self.at = str(wiring)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            return bench(self.part, self.options, wiring).train(training)

    def benches(self, training: bool = False) -> Iterator[Any]:
        """A few benches, one after the other."""
        for wiring in self.few:
            yield self.bench(wiring, training=training)

    def stirred(self, wiring: Wiring, training: bool = False) -> Iterator[Any]:
        """A few benches wired so, with a little noise on their parameters.

        Many a good layer begins as nothing, and learns to be something; and narrow ones may begin dead, but not every time.
        """
        for seed in range(3):
            bench = self.bench(wiring, seed, training)
            with torch.no_grad():
                for parameter in bench.parameters():
                    parameter.add_(0.05 * torch.randn_like(parameter))
            yield bench

    def built(self, arguments: Mapping[str, Any]) -> Any:
        """The part alone, in evaluation mode; None where it refuses."""
        try:
            return self.part(**arguments, **self.options).eval()
        except ShapeError:
            return None

    def _try(self, wiring: Wiring) -> Exception | None:
        try:
            self.bench(wiring)
        except Exception as error:
            return error
        return None


def require(holds: bool, otherwise: str) -> None:
    """Fail a check unless something holds.

    Raises:
        CheckFailed: saying what is the case instead.
    """
    if not holds:
        raise CheckFailed(otherwise)


def steadily(bench: Bench, inputs: Inputs, seed: int = 1) -> dict[str, Tensor]:
    """What comes out; what draws, draws from `seed`. Only a loss may need gradients for that."""
    torch.manual_seed(seed)
    with torch.set_grad_enabled(not bench.by_row):
        return {name: value.detach() for name, value in bench.steady(*inputs).items()}


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """The inputs with their floats in another type."""
    return tuple(i.to(dtype) if i is not None and i.is_floating_point() else i for i in inputs)


def same(got: Mapping[str, Tensor], wanted: Mapping[str, Tensor], rtol: float = 1e-4, atol: float = 1e-5) -> str:
    """How two sets of outputs differ, in words; nothing where they do not."""
    if got.keys() != wanted.keys():
        return f"gives {', '.join(got)} instead of {', '.join(wanted)}"
    for name, value in got.items():
        other = wanted[name].to(value.dtype)
        if value.shape != other.shape:
            return f"{name} has shape {tuple(value.shape)} instead of {tuple(other.shape)}"
        if not torch.allclose(value, other, rtol=rtol, atol=atol, equal_nan=True):
            gap = (value.double() - other.double()).abs().nan_to_num(0, 0).max().item()
            return f"{name} differs by up to {gap:.3g}"
    return ""
