"""How far a program is from the model it was made of."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from vaekit.errors import ConfigError
from vaekit.export.graphs import Graph, codes, probe
from vaekit.model import VAE

MOST = 1e-4
"""The greatest absolute difference of any number that is allowed in float32."""
_EXAMPLES = 64
_NUMBERS = 2**22  # that they are made of, at most

Run = Callable[[Mapping[str, Tensor]], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Differences:
    """Of a program's outputs from the model's, over all numbers of some examples.

    Args:
        random: the greatest absolute difference on random inputs.
        real: on examples of data; None where there were none.
        rms: the root of the mean square, on examples of data, or on random inputs where there were none.
        examples: how many there were, of data or random.
    """

    random: float
    real: float | None
    rms: float
    examples: int


def compared(graph: Graph, run: Run, examples: tuple[Tensor, Tensor | None] | None, strict: bool) -> Differences:
    """Run a program on random inputs and on data, in batches of several sizes, and compare it with the model.

    Args:
        graph: the half that the program was made of.
        run: it.
        examples: x (N, *data_shape) and y.
        strict: whether a difference of more than MOST is an error.

    Raises:
        ConfigError: where it differs too much, or its outputs are not finite.
    """
    most = max(3, min(_EXAMPLES, _NUMBERS // prod(graph.model.data_shape)))
    random = torch.cat([_differences(graph, run, *_probe(graph.model, n)) for n in (1, 2, most - 3) if n])
    real = None if examples is None else _on_data(graph, run, examples, most)
    worst = max(_greatest(random), 0.0 if real is None else _greatest(real))
    if not worst < math.inf or (strict and worst > MOST):
        raise ConfigError(
            f"{graph.half} is not exported: its program is {worst:.1e} off the model, and {MOST:g} is the most that is allowed"
        )
    seen = random if real is None else real
    rms = float(seen.double().square().mean().sqrt())
    number = most if examples is None else min(most, len(examples[0]))
    return Differences(_greatest(random), None if real is None else _greatest(real), rms, number)


def _probe(model: VAE, n: int) -> tuple[Tensor, Tensor]:
    """Random examples, and contexts; every other one cut short where sequences of several lengths are taken."""
    x, c = probe(model, n, seed=n)
    if model.encoder.takes_padding and x.dim() == 3:
        x[1::2, (x.shape[1] + 1) // 2 :] = math.nan
    return x, c


def _on_data(graph: Graph, run: Run, examples: tuple[Tensor, Tensor | None], most: int) -> Tensor:
    x, y = examples
    x = x[:most].float()
    return _differences(graph, run, x, context_of(graph.model, y, len(x)))


def context_of(model: VAE, y: Tensor | None, n: int) -> Tensor:
    """c (n, C) for the classes of some examples, of which a model may be told nothing."""
    c: Tensor = model.context(y[:n] if y is not None and model.conditional else model.context.sample(n), n)
    return c


def _differences(graph: Graph, run: Run, x: Tensor, c: Tensor) -> Tensor:
    """Absolute differences of all numbers of all outputs, in one row."""
    with torch.no_grad():
        given = x if graph.half == "encode" else codes(graph.model, x, c)
        inputs = dict(zip(graph.inputs, (given.contiguous(), c), strict=False))
        wanted = graph.module(*inputs.values())
        found = run(inputs)
    return torch.cat([(a - b).abs().flatten() for a, b in zip(found, wanted, strict=True)])


def _greatest(differences: Tensor) -> float:
    return float(differences.max()) if bool(differences.isfinite().all()) else math.inf
