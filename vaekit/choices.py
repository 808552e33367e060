"""What a run settles by itself, once: precision, compilation, memory format, threads; run.json keeps it for when it goes on.

Nothing here may make a run end later by more than a twentieth: what is tried takes at most that share of the steps, or of the
time, that are surely to come.
"""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vaekit.blocks import drawing, threads
from vaekit.errors import short
from vaekit.options import Options
from vaekit.parts import Part
from vaekit.step import Step
from vaekit.trace import Terms
from vaekit.training import TrainingOptions

Batch = tuple[Tensor, Tensor | None]
MemoryFormat = Literal["contiguous", "channels_last"]


class Choices(Options):
    """How a run computes.

    Args:
        device: a torch device.
        precision: `fp32`; or `bf16`, by autocast, where parameters, densities and reductions stay in float32.
        compile: whether steps are compiled.
        memory_format: of images and the weights of convolutions.
        threads: of the CPU, that torch computes on.
    """

    device: str
    precision: Literal["fp32", "bf16"]
    compile: bool
    memory_format: MemoryFormat
    threads: Annotated[int, Field(ge=1, le=4096)]

    def but(self, **changes: Any) -> Self:
        """The same otherwise."""
        return type(self)(**{**self.model_dump(), **changes})

    def __str__(self) -> str:
        said = [self.precision, "compiled" if self.compile else "not compiled"]
        said += ["channels last"] if self.memory_format == "channels_last" else []
        return ", ".join([*said, self.said_threads])

    @property
    def said_threads(self) -> str:
        """How many threads, in words."""
        return f"{self.threads} thread{'s' if self.threads > 1 else ''}"

    def autocast(self) -> torch.autocast:
        """A block in which what can be is computed in the precision.

        Weights are cast each time: inside of a block of somebody else's, torch would keep those of the first step for ever.
        """
        device = torch.device(self.device).type
        return torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16", cache_enabled=False)

    def layout(self, x: Tensor) -> Tensor:
        """x in the memory format, where it is of images."""
        return x.contiguous(memory_format=torch.channels_last) if self.memory_format == "channels_last" and x.dim() == 4 else x

    def compiled(self, step: nn.Module) -> Callable[..., Any]:
        """What computes a step."""
        if not self.compile:
            return step
        mode = "reduce-overhead" if torch.device(self.device).type == "cuda" else None
        return torch.compile(step, dynamic=False, mode=mode)  # dynamic shapes make the ragged last batch differ after a resume


def decide(step: Step, options: TrainingOptions, device: torch.device, batch: Batch | None, to_come: int) -> Choices:
    """Settle what the options leave open, by trying it on a copy of the step. Where it cannot be compiled, it is not.

    Args:
        step: of training, a Step on the device.
        options: of training.
        device: to train on.
        batch: a piece of one of the training set; without one, nothing is tried.
        to_come: pieces of steps that there will surely be.
    """
    usual = Choices(
        device=str(device),
        precision=_precision(step, device) if options.precision == "auto" else options.precision,
        compile=options.compile == "on",
        memory_format="contiguous" if options.memory_format == "auto" else options.memory_format,
        threads=options.threads or torch.get_num_threads(),
    )
    formats = _formats(step, batch) if batch is not None and options.memory_format == "auto" else []
    wanted = [usual.but(memory_format=memory_format) for memory_format in formats] or [usual]
    undecided = len(wanted) > 1 or (options.compile == "auto" and _all_compile(step))
    if batch is None or not undecided or to_come * _SHARE < len(wanted) * _STEPS_TRIED:
        return usual
    with threads(usual.threads), drawing(0, device):
        found = [(_tried(step, choices, batch), choices) for choices in wanted]
        (_, seconds), best = min(found, key=lambda one: one[0][1])
        expected = _SECONDS_TO_COMPILE * len(step.loss.players(step.model))
        if options.compile == "auto" and _all_compile(step) and seconds * to_come * _SHARE > expected:
            try:
                first, compiled = _tried(step, best.but(compile=True), batch)
            except Exception as error:
                if not of_compiler(error):
                    raise
                warnings.warn(f"steps are not compiled: {short(error, 200)}", stacklevel=2)
            else:
                if (seconds - compiled) * to_come > first:  # it is done a second time, for the step itself
                    return best.but(compile=True)
    return best


_SHARE = 1 / 20
_STEPS_TRIED = 3
_SECONDS_TO_COMPILE = 60.0  # 25 to 31 were measured on two cores


def has_bf16(device: torch.device) -> bool:
    """Whether the device itself multiplies in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def _precision(step: Step, device: torch.device) -> Literal["fp32", "bf16"]:
    floats = {p.dtype for p in step.parameters() if p.is_floating_point()}
    return "bf16" if floats == {torch.float32} and has_bf16(device) else "fp32"


def _formats(step: Step, batch: Batch) -> list[MemoryFormat]:
    """The memory formats that make a difference."""
    convolutions = any(p.dim() == 4 for p in step.parameters())
    return ["contiguous", "channels_last"] if convolutions and batch[0].dim() == 4 else []


def _all_compile(step: Step) -> bool:
    return all(part.compiles for part in step.modules() if isinstance(part, Part))


def _tried(step: Step, choices: Choices, batch: Batch) -> tuple[float, float]:
    """Seconds that the first step of all players takes by these choices, and the fastest of two more."""
    copied = copy.deepcopy(step)
    if choices.memory_format == "channels_last":
        copied.to(memory_format=torch.channels_last)
    run = choices.compiled(copied)
    x, y = choices.layout(batch[0]), batch[1]
    seconds = []
    with default_validation():
        for _ in range(_STEPS_TRIED):
            start = time.perf_counter()
            for player in copied.loss.players(copied.model):
                with choices.autocast():
                    terms: Terms = run(x, y, player)
                terms.loss.backward()
            if x.is_cuda:
                torch.cuda.synchronize(x.device)
            seconds.append(time.perf_counter() - start)
    return seconds[0], min(seconds[1:])


def of_compiler(error: Exception) -> bool:
    """Whether it is torch's compiler that failed."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


@contextmanager
def default_validation() -> Iterator[None]:
    """A block after which torch's distributions validate their arguments, or not, as before: compiling turns it off."""
    before = Distribution._validate_args
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)
