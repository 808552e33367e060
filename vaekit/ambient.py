"""What all code in a process shares, from torch's default dtype to the working directory: seen, compared and put back."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import eq, is_
from typing import Any, Self

import torch
from torch.backends import cudnn
from torch.distributions import Distribution


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was.

    Args:
        what: in words.
        now: its value in words; empty for what words cannot tell, such as the state of a random generator.
        was: the value before.
    """

    what: str
    now: str = ""
    was: str = ""

    def __str__(self) -> str:
        return f"{self.what} is {self.now}, was {self.was}" if self.now else f"{self.what} is another"


class Ambient:
    """Global state as it is at one moment: `before = Ambient.now()`, and later `before.changes()` and `before.restore()`.

    It holds torch's defaults, flags and number of threads, the states of the random generators of torch (CPU), NumPy and
    Python, the working directory, `sys.stdout` and `sys.stderr`, the handler of SIGINT, and whether all warnings are ignored.
    It never starts CUDA. What belongs to a thread, such as torch's recording of gradients, is that of the calling thread.
    """

    def __init__(self, values: "dict[_Item, Any]") -> None:
        self._values = values

    @classmethod
    def now(cls) -> Self:
        """As it is now."""
        return cls({item: _read(item) for item in _ITEMS})

    def differences(self) -> list[Change]:
        """What is not as it was."""
        found = []
        for item, was in self._values.items():
            now = _read(item)
            if was is not _UNREADABLE and (now is _UNREADABLE or not item.same(was, now)):
                found.append(Change(item.what, _words(item, now), _words(item, was)))
        return found

    def changes(self) -> list[str]:
        """What is not as it was, in words such as `torch's default dtype is torch.float64, was torch.float32`."""
        return [str(change) for change in self.differences()]

    def restore(self) -> None:
        """Put back what is not as it was; what cannot be put back is still among the differences."""
        changed = {change.what for change in self.differences()}
        for item, was in self._values.items():
            if item.what in changed:
                with suppress(Exception):  # a directory that is gone, a handler that Python did not set
                    item.write(was)


@dataclass(frozen=True)
class _Item:
    what: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    words: Callable[[Any], str] = str
    same: Callable[[Any, Any], bool] = eq


_UNREADABLE = object()


def _read(item: _Item) -> Any:
    try:
        return item.read()
    except Exception:  # torch, where its old and its new settings are mixed; a directory that is gone
        return _UNREADABLE


def _words(item: _Item, value: Any) -> str:
    return "unreadable" if value is _UNREADABLE else item.words(value)


def _on(value: bool) -> str:
    return "on" if value else "off"


def _wordless(value: Any) -> str:
    return ""


def _cudnn(name: str) -> _Item:
    return _Item(
        f"torch.backends.cudnn.{name}", lambda: getattr(cudnn, name), lambda value: setattr(cudnn, name, value), words=_on
    )


def _default_device() -> torch.device | None:
    """That of `torch.set_default_device`; torch's own function starts CUDA where that is the default."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return context.device if context else None


def _numpy_state() -> Any:
    """Nothing is imported for it that is not there; `numpy.random` itself is only there once somebody asks for it."""
    return sys.modules["numpy"].random.get_state(legacy=False)


def _set_numpy_state(state: Any) -> None:
    sys.modules["numpy"].random.set_state(state)


def _same_numpy(was: Any, now: Any) -> bool:
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(_same_numpy(was[key], now[key]) for key in was)
    return bool(sys.modules["numpy"].array_equal(was, now))


def _sigint() -> Any:
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else _UNREADABLE


def _stream(name: str) -> _Item:
    def write(stream: Any) -> None:
        _replaced.append(getattr(sys, name))
        setattr(sys, name, stream)

    return _Item(f"sys.{name}", lambda: getattr(sys, name), write, _wordless, is_)


_replaced: list[Any] = []
"""Streams that were taken away again: thrown away, a wrapper would close what it wraps."""
_IGNORE_ALL = ("ignore", None, Warning, None, 0)


def _set_ignored(ignored: bool) -> None:
    filters: Any = warnings.filters
    while not ignored and _IGNORE_ALL in filters:
        filters.remove(_IGNORE_ALL)


_ITEMS = (
    _Item("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    _Item("torch's default device", _default_device, torch.set_default_device, words=lambda device: str(device or "not set")),
    _Item("torch's recording of gradients", torch.is_grad_enabled, torch.set_grad_enabled, words=_on),
    _Item("torch's float32 matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    _Item(
        "torch's use of deterministic algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        words=["off", "on with warnings", "on"].__getitem__,
    ),
    _Item("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    *map(_cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    _Item(
        "torch.distributions' validation of arguments",
        lambda: Distribution._validate_args,
        Distribution.set_default_validate_args,
        words=_on,
    ),
    _Item("the state of torch's random generator", torch.get_rng_state, torch.set_rng_state, _wordless, torch.equal),
    _Item("the state of NumPy's random generator", _numpy_state, _set_numpy_state, _wordless, _same_numpy),
    _Item("the state of Python's random generator", random.getstate, random.setstate, _wordless),
    _Item("the working directory", os.getcwd, os.chdir),
    *map(_stream, ("stdout", "stderr")),
    _Item("the handler of SIGINT", _sigint, lambda handler: signal.signal(signal.SIGINT, handler), _wordless),
    _Item(
        "Python's warning filter",
        lambda: _IGNORE_ALL in warnings.filters,
        _set_ignored,
        words=lambda ignored: "ignore everything" if ignored else "narrower",
        same=lambda was, now: was or not now,
    ),
)
