"""The halves of a model as functions of tensors, traced by torch.export."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.export import Dim, ExportedProgram

from vaekit.blocks import drawing
from vaekit.errors import ConfigError, short
from vaekit.model import VAE

MOST_AT_ONCE = 65536
"""Of a batch, which torch.export wants to know; ONNX has no such bound."""
_TRACED = 3  # examples: with one or none, torch.export would take that for a constant


class Encode(nn.Module):
    """The code of x, and the standard deviation of q(root | x, c) where that is a diagonal Gaussian.

    Args:
        model: that it is the half of.
    """

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.likelihood, self.encoder, self.latent = model.likelihood, model.encoder, model.latent
        self.outputs = ("code", "std") if _diagonal(model.posterior(*probe(model))) else ("code",)

    def forward(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, ...]:
        told = _nothing(x) if c is None else c
        h = self.encoder(self.likelihood.seen(x), told)
        code = self.latent.code(h, told).float()
        if self.outputs == ("code",):
            return (code,)
        return code, self.latent.posterior(h, told).stddev.float()


class Decode(nn.Module):
    """The mean of p(x | z, c).

    Args:
        model: that it is the half of.
    """

    outputs = ("mean",)

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.decoder, self.likelihood = model.decoder, model.likelihood

    def forward(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, ...]:
        told = _nothing(z) if c is None else c
        return (self.likelihood(self.decoder(z, told)).mean.float(),)


def _nothing(batch: Tensor) -> Tensor:
    """c (N, 0) of a model that is told nothing, in a form that has a graph."""
    return batch.flatten(1)[:, :0]


HALVES: dict[str, tuple[Callable[[VAE], Encode | Decode], str]] = {"encode": (Encode, "x"), "decode": (Decode, "z")}
"""The halves, and what each takes besides c."""


@dataclass(frozen=True)
class Graph:
    """One half as a graph of tensors.

    Args:
        half: `encode` or `decode`.
        model: that it is of.
        module: it as a module, which is what the graph has to agree with.
        program: the graph, for any batch.
        inputs: the names of its inputs.
    """

    half: str
    model: VAE
    module: Encode | Decode
    program: ExportedProgram
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, model: VAE, half: str) -> "Graph":
        """Trace a half of a model that is still.

        Raises:
            ConfigError: saying why it cannot be.
        """
        made, name = HALVES[half]
        with torch.no_grad():
            module = made(model).eval()
            x, c = probe(model)
            first = x if half == "encode" else codes(model, x, c)
            inputs = ((name, first), ("c", c)) if model.conditional else ((name, first),)
            batch = Dim("batch", min=1, max=MOST_AT_ONCE)
            try:
                module(*(value for _, value in inputs))
            except NotImplementedError:  # which torch's distributions raise
                raise ConfigError(_refused(model, half, "p(x | z) has no mean in closed form")) from None
            try:
                with quiet():
                    program = torch.export.export(
                        module,
                        tuple(value for _, value in inputs),
                        dynamic_shapes=tuple({0: batch} for _ in inputs),
                        strict=False,
                    )
            except Exception as error:  # whatever a part does that has no graph
                raise ConfigError(_refused(model, half, reason(error))) from error
        return cls(half, model, module, program, tuple(name for name, _ in inputs))


def still(model: VAE) -> VAE:
    """A copy of a model in evaluation mode, in float32 on the CPU, whose weights want no gradients."""
    copied = copy.deepcopy(model).to("cpu", torch.float32).eval()
    return copied.requires_grad_(False)


def probe(model: VAE, n: int = _TRACED, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random examples x (n, *data_shape), drawn from the likelihood, and c (n, C)."""
    with torch.no_grad(), drawing(seed, torch.device("cpu")):
        c = model.context(model.context.sample(n), n)
        return model.likelihood(torch.randn(n, *model.likelihood.in_shape)).sample().float(), c


def codes(model: VAE, x: Tensor, c: Tensor) -> Tensor:
    """The codes (n, *latent.out_shape) of examples."""
    code: Tensor = model.latent.code(model.encoder(model.likelihood.seen(x), c), c)
    return code.float()


def reason(error: Exception) -> str:
    """Why torch.export takes no graph of something, in one line."""
    said = str(error)
    if "specialized it to be a constant" in said:
        return "it has a graph for one size of batch alone: take the size as x.shape[0], not as len(x) or a number"
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return f"torch.export fails with {type(error).__name__}: {short(line, 200)}"


@contextmanager
def quiet() -> Iterator[None]:
    """A block in which converters keep to themselves what they do; what they cannot do they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _diagonal(q: object) -> bool:
    return isinstance(q, Independent) and isinstance(q.base_dist, Normal)


def _refused(model: VAE, half: str, why: str) -> str:
    kinds = ("encoder", "latent") if half == "encode" else ("decoder", "likelihood")
    parts = " and ".join(f"{kind} {getattr(model, kind).name!r}" for kind in kinds)
    other = next(name for name in HALVES if name != half)
    return f"{half} cannot be exported, with {parts}: {why}; --parts {other} exports the other half"
