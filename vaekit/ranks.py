"""The processes that train together: one by itself, or the ranks of a job that torchrun or accelerate has launched."""

import atexit
import gc
import json
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.blocks import find_device
from vaekit.errors import ConfigError, TrainingError
from vaekit.launch import launched
from vaekit.training import TrainingOptions


class Ranks:
    """One process by itself.

    Attributes:
        rank: the number of this process.
        size: how many there are.
    """

    rank = 0
    size = 1

    def device(self, wanted: str) -> torch.device:
        """The device of this process where people said which they want."""
        return find_device(wanted)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """A block that the main process goes through before the others."""
        yield

    def wrapped(self, step: nn.Module, reached: bool) -> nn.Module:
        """The module to call in place of `step`, whose gradients are means over all ranks.

        Args:
            step: whose parameters may be others afterwards, under the same names.
            reached: whether every backward pass reaches every parameter that wants gradients.
        """
        return step

    def apart(self, step: Callable[..., Any], more: bool) -> AbstractContextManager[Any]:
        """A block of one forward and backward pass, in which gradients are not exchanged yet where more are to come."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss."""
        loss.backward()

    def norm(self, parameters: list[nn.Parameter], most: float | None) -> Tensor:
        """The norm of all gradients together, which are scaled down to `most` where it is more."""
        return nn.utils.clip_grad_norm_(parameters, math.inf if most is None else most)

    def gathered(self, step: nn.Module) -> AbstractContextManager[Any]:
        """A block in which every rank has all parameters, and parts of `step` can be called by themselves."""
        return nullcontext()

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor of which each rank may have a shard, as it is."""
        return tensor

    def like(self, whole: Tensor, like: Tensor) -> Tensor:
        """A whole tensor as this rank has another one: its device, memory format and shard."""
        return torch.empty_like(like, dtype=whole.dtype).copy_(whole)

    def of_each(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, which have one shape."""
        return [tensor]

    def sum(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def any(self, *flags: bool) -> list[bool]:
        """Whether each is true on any rank."""
        return list(flags)

    def told(self, value: Any) -> Any:
        """What the main process says, of JSON values."""
        return value

    def explained(self, error: RuntimeError) -> RuntimeError | TrainingError:
        """The error, or one that says so where it only means that another rank is gone."""
        return error


ALONE = Ranks()


class Together(Ranks):
    """One of several processes, by accelerate: each with a copy of the model (DDP) or with a shard of it (FSDP).

    Args:
        options: of training.
    """

    def __init__(self, options: TrainingOptions) -> None:
        from accelerate.state import PartialState

        ours = not torch.distributed.is_initialized()
        on_cpu = torch.device("cpu" if options.device == "auto" else options.device).type == "cpu"
        self._state = PartialState(cpu=on_cpu and (options.device != "auto" or not torch.cuda.is_available()))
        self.rank, self.size = self._state.process_index, self._state.num_processes
        self._sharded = options.strategy == "fsdp" or os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
        self._accelerator: Any = None
        if ours:  # until the process ends: a group that is made a second time waits for the first one's addresses
            atexit.register(self._state.destroy_process_group)

    def device(self, wanted: str) -> torch.device:
        found = self._state.device
        if wanted not in ("auto", found.type):
            raise ConfigError(f"several ranks have a device each, this one {found}: give auto or {found.type}, not {wanted!r}")
        return torch.device(found.type) if found.type == "cpu" else found

    @contextmanager
    def main_first(self) -> Iterator[None]:
        with self._state.main_process_first():
            yield

    def wrapped(self, step: nn.Module, reached: bool) -> nn.Module:
        if self._sharded:
            from torch.distributed.fsdp import fully_shard

            fully_shard(step)  # in place
            return step
        from accelerate import Accelerator, DistributedDataParallelKwargs

        how = DistributedDataParallelKwargs(find_unused_parameters=not reached)
        cpu = self._state.device.type == "cpu"
        self._accelerator = Accelerator(mixed_precision="no", cpu=cpu, kwargs_handlers=[how])  # autocast is of our own
        wrapped: nn.Module = self._accelerator.prepare_model(step)
        return wrapped

    @contextmanager
    def apart(self, step: Any, more: bool) -> Iterator[None]:
        if not more:
            yield
        elif self._sharded:
            step.set_requires_gradient_sync(False)
            yield
            step.set_requires_gradient_sync(True)
        else:
            with self._accelerator.no_sync(step):
                yield

    def backward(self, loss: Tensor) -> None:
        if self._accelerator is None:
            loss.backward()
        else:
            self._accelerator.backward(loss)

    def norm(self, parameters: list[nn.Parameter], most: float | None) -> Tensor:
        return self.whole(super().norm(parameters, most))

    @contextmanager
    def gathered(self, step: Any) -> Iterator[None]:
        if not self._sharded:
            yield
            return
        step.unshard()
        yield
        step.reshard()

    def whole(self, tensor: Tensor) -> Tensor:
        if not self._sharded:
            return tensor
        from torch.distributed.tensor import DTensor

        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def like(self, whole: Tensor, like: Tensor) -> Tensor:
        if not self._sharded:
            return super().like(whole, like)
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return super().like(whole, like)
        return distribute_tensor(whole.to(like.device_mesh.device_type), like.device_mesh, like.placements)

    def of_each(self, tensor: Tensor) -> list[Tensor]:
        if not tensor.numel():
            return [tensor] * self.size
        here = tensor.to(self._state.device)
        found = [torch.empty_like(here) for _ in range(self.size)]
        torch.distributed.all_gather(found, here)
        return found

    def sum(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, torch.distributed.ReduceOp.SUM)

    def least(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, torch.distributed.ReduceOp.MIN)

    def any(self, *flags: bool) -> list[bool]:
        return [bool(flag) for flag in self._reduced(torch.tensor(flags, dtype=torch.int32), torch.distributed.ReduceOp.MAX)]

    def told(self, value: Any) -> Any:
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8) if self.main else torch.empty(0)
        size = int(self.sum(torch.tensor(len(text) if self.main else 0)))
        said = text.to(self._state.device) if self.main else torch.empty(size, dtype=torch.uint8, device=self._state.device)
        torch.distributed.broadcast(said, 0)
        return json.loads(bytes(said.tolist()))

    def explained(self, error: RuntimeError) -> RuntimeError | TrainingError:
        if not any(sign in str(error) for sign in _GONE):
            return error
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which launchers send as soon as a rank is gone: first say why
        return TrainingError(
            f"rank {self.rank}: another rank of the job has ended; what it said tells why, and vaekit resume goes on from the "
            "last checkpoint"
        )

    def leave(self) -> None:
        """Let go of what was wrapped, which must be gone before the group of processes ends."""
        self._accelerator = None
        gc.collect()

    def _reduced(self, tensor: Tensor, how: Any) -> Tensor:
        there = tensor.to(self._state.device)
        torch.distributed.all_reduce(there, how)
        return there.to(tensor.device)


@contextmanager
def joined(options: TrainingOptions) -> Iterator[Ranks]:
    """A block in which this process is one of the ranks of its job, or alone.

    Raises:
        TrainingError: where another rank is gone.
    """
    if not launched():
        yield ALONE
        return
    ranks = Together(options)
    try:
        yield ranks
    except RuntimeError as error:
        raise ranks.explained(error) from None
    finally:
        ranks.leave()


_GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "NCCL communicator was aborted",
    "Socket Timeout",
)
