"""The processes that train together: one by itself, or the ranks of a job that torchrun or accelerate has launched."""

import atexit
import gc
import json
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vaekit.blocks import find_device
from vaekit.errors import ConfigError, TrainingError
from vaekit.launch import fsdp_asked, launched
from vaekit.step import Step
from vaekit.training import TrainingOptions


class Ranks:
    """One process by itself.

    Attributes:
        rank: the number of this process.
        size: how many there are.
        sharded: whether each has a shard of the model.
    """

    rank = 0
    size = 1
    sharded = False

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

    def wrapped(self, step: Step, reached: bool) -> nn.Module:
        """The module to call in place of `step`, whose gradients are means over all ranks.

        Args:
            step: whose parameters may be others afterwards, under the same names.
            reached: whether every backward pass reaches every parameter that wants gradients.
        """
        return step

    def no_sync(self, step: nn.Module) -> AbstractContextManager[Any]:
        """A block of one forward and backward pass, in which gradients are not exchanged yet, as more are to come."""
        return nullcontext()

    def sync_buffers(self, step: Step) -> None:
        """Give every rank the buffers of the main one, such as the statistics of batch norm, of which it writes its own."""

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss."""
        loss.backward()

    def norm(self, parameters: list[nn.Parameter], most: float | None) -> Tensor:
        """The norm of all gradients together, which are scaled down to `most` where it is more."""
        return nn.utils.clip_grad_norm_(parameters, math.inf if most is None else most)

    def gathered(self, step: nn.Module) -> AbstractContextManager[Any]:
        """A block in which every rank has all parameters, and parts of `step` can be called by themselves."""
        return nullcontext()

    def full(self, tensor: Tensor) -> Tensor:
        """On the main rank all of a tensor of which each rank may have a shard."""
        return tensor

    def shard(self, full: Tensor, like: Tensor) -> Tensor:
        """A full tensor as this rank has another one: its device, memory format and shard."""
        return torch.empty_like(like, dtype=full.dtype).copy_(full)

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all ranks, which have one shape."""
        return [tensor]

    def sum(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def min(self, tensor: Tensor) -> Tensor:
        """Over all ranks."""
        return tensor

    def any(self, *flags: bool) -> list[bool]:
        """Whether each is true on any rank."""
        return list(flags)

    def broadcast(self, value: Any) -> Any:
        """What the main process has, of JSON values."""
        return value

    def explained(self, error: RuntimeError) -> RuntimeError | TrainingError:
        """The error, or one that says so where it only means that another rank is gone."""
        return error


ALONE = Ranks()


class Distributed(Ranks):
    """One of several processes, by accelerate: each with a copy of the model (DDP) or with a shard of it (FSDP).

    Accelerate has no FSDP without GPUs; sharding is torch's own everywhere.

    Args:
        options: of training.

    Raises:
        ConfigError: where accelerate was told what is not done here.
    """

    def __init__(self, options: TrainingOptions) -> None:
        from accelerate.state import PartialState

        self.sharded = options.strategy == "fsdp"
        if fsdp_asked() and not self.sharded:
            raise ConfigError("the run is one of strategy ddp: launch it without accelerate's FSDP (--use_fsdp)")
        ours = not torch.distributed.is_initialized()
        on_cpu = torch.device("cpu" if options.device == "auto" else options.device).type == "cpu"
        self._state = PartialState(cpu=on_cpu and (options.device != "auto" or not torch.cuda.is_available()))
        self.rank, self.size = self._state.process_index, self._state.num_processes
        self._accelerator: Any = None
        if ours:  # until the process ends: a group that is made a second time waits for the first one's addresses
            atexit.register(self._state.destroy_process_group)

    def device(self, wanted: str) -> torch.device:
        found = self._state.device
        if wanted != "auto" and torch.device(wanted).type != found.type:
            raise ConfigError(f"several ranks have a device each, this one {found}: give auto or {found.type}, not {wanted!r}")
        return torch.device(found.type) if found.type == "cpu" else found

    @contextmanager
    def main_first(self) -> Iterator[None]:
        with self._state.main_process_first():
            yield

    def wrapped(self, step: Step, reached: bool) -> nn.Module:
        if self.sharded:
            from torch.distributed.fsdp import fully_shard

            for module in (step.model.encoder, step.model.decoder, step):  # in place; the last has all that is left
                if any(True for _ in module.parameters()):
                    fully_shard(module)
            step.register_forward_pre_hook(lambda step, _: self.sync_buffers(step) if step.training else None)  # as DDP does
            return step
        from accelerate import Accelerator, DistributedDataParallelKwargs

        how = DistributedDataParallelKwargs(find_unused_parameters=not reached)
        cpu = self._state.device.type == "cpu"
        self._accelerator = Accelerator(mixed_precision="no", cpu=cpu, kwargs_handlers=[how])  # autocast is of our own
        wrapped: nn.Module = self._accelerator.prepare_model(step)
        return wrapped

    @contextmanager
    def no_sync(self, step: Any) -> Iterator[None]:
        if self.sharded:
            step.set_requires_gradient_sync(False)
            yield
            step.set_requires_gradient_sync(True)
        else:
            with self._accelerator.no_sync(step):
                yield

    def sync_buffers(self, step: Step) -> None:
        for buffer in step.buffers():
            torch.distributed.broadcast(buffer, 0)

    def backward(self, loss: Tensor) -> None:
        if self.sharded:
            loss.backward()
        else:
            self._accelerator.backward(loss)

    def norm(self, parameters: list[nn.Parameter], most: float | None) -> Tensor:
        if self.sharded:
            sharded: Any = super().norm(parameters, most)
            found: Tensor = sharded.full_tensor()
            return found
        found = self._accelerator.clip_grad_norm_(parameters, math.inf if most is None else most)
        return found

    @contextmanager
    def gathered(self, step: Any) -> Iterator[None]:
        if not self.sharded:
            yield
            return
        from torch.distributed.fsdp import FSDPModule

        shards = [module for module in step.modules() if isinstance(module, FSDPModule)]
        step.set_reshard_after_forward(False)
        for module in shards:
            module.unshard()
        yield
        for module in shards:
            module.reshard()
        for module in shards:
            module.set_reshard_after_forward(module is not step, recurse=False)

    def full(self, tensor: Tensor) -> Tensor:
        if not self.sharded:
            return tensor
        from torch.distributed.tensor import DTensor

        if not isinstance(tensor, DTensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if self.main else full.new_empty(0)

    def shard(self, full: Tensor, like: Tensor) -> Tensor:
        if not self.sharded:
            return super().shard(full, like)
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(like, DTensor):
            return super().shard(full, like)
        return distribute_tensor(full.to(like.device_mesh.device_type), like.device_mesh, like.placements)

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        if not tensor.numel():
            return [tensor] * self.size
        here = tensor.to(self._state.device)
        found = [torch.empty_like(here) for _ in range(self.size)]
        torch.distributed.all_gather(found, here)
        return found

    def sum(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, torch.distributed.ReduceOp.SUM)

    def min(self, tensor: Tensor) -> Tensor:
        return self._reduced(tensor, torch.distributed.ReduceOp.MIN)

    def any(self, *flags: bool) -> list[bool]:
        return [bool(flag) for flag in self._reduced(torch.tensor(flags, dtype=torch.int32), torch.distributed.ReduceOp.MAX)]

    def broadcast(self, value: Any) -> Any:
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
    ranks = Distributed(options)
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
