"""What all code in a process shares, from torch's default dtype to the working directory: seen, compared and put back."""

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from operator import eq, is_
from typing import Any, Self

import torch
from torch.backends import cudnn
from torch.distributions import Distribution

DRAWN = "the state of Python's random generator"
"""What harmless code changes as well: some type checkers draw from it at every call, and some libraries on import."""


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

    It holds torch's defaults, flags, CPU autocast and number of threads; the states of the random generators of torch (CPU),
    NumPy and Python; how NumPy handles floating-point errors; the working directory; `sys.stdout`, `sys.stderr` and
    `sys.excepthook`; the handler of SIGINT; the level of `logging.disable`; and the filters of all warnings. It leaves out
    narrower filters and `os.environ`, which libraries add to when they are imported. It never starts CUDA.

    What belongs to a thread, such as torch's recording of gradients, is that of the calling thread. What other threads do
    meanwhile cannot be told apart: where one draws, that is a change, and restoring takes its draws back.
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
    """None where nobody has asked for `numpy.random` yet: importing it takes longer than all else that is read here."""
    generator = sys.modules.get("numpy.random")
    return generator and generator.get_state(legacy=False)


def _set_numpy_state(state: Any) -> None:
    generator = sys.modules["numpy.random"]
    if state is None:
        generator.set_bit_generator(generator.MT19937())  # as an import leaves it
    else:
        generator.set_state(state)


def _same_numpy_state(was: Any, now: Any) -> bool:
    """Whether nobody has drawn or seeded; a first import is no change."""
    return now is None or _equal(_imported_numpy_state() if was is None else was, now)


def _imported_numpy_state() -> Any:
    """What an import left, by the seeds that NumPy keeps of it."""
    generator = sys.modules["numpy.random"]
    seeds = generator.get_bit_generator().seed_seq
    return generator.RandomState(generator.MT19937(seeds)).get_state(legacy=False)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return bool(sys.modules["numpy"].array_equal(a, b))


def _sigint() -> Any:
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else _UNREADABLE


def _numpy_errors() -> Any:
    return sys.modules["numpy"].geterr()


def _set_numpy_errors(handling: dict[str, str]) -> None:
    sys.modules["numpy"].seterr(**handling)


def _of_sys(name: str) -> _Item:
    def write(value: Any) -> None:
        _replaced.append(getattr(sys, name))
        setattr(sys, name, value)

    return _Item(f"sys.{name}", lambda: getattr(sys, name), write, _wordless, is_)


_replaced: list[Any] = []
"""Streams, for one, that were taken away again: thrown away, a wrapper would close what it wraps."""


def _for_all(filters: Iterable[Any]) -> list[str]:
    """What is done with all warnings that no filter before it takes, the first to be asked first."""
    return [action for action, *which in filters if which == [None, Warning, None, 0]]


def _set_filters(was: tuple[Any, ...]) -> None:
    """As they were, with the narrow ones that libraries have added since."""
    added = [one for one in warnings.filters if one not in was and not _for_all([one])]
    warnings.resetwarnings()
    filters: Any = warnings.filters
    filters.extend([*added, *was])


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
    _Item("torch's anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled, words=_on),
    _Item(
        "torch's autocast on the CPU",
        lambda: torch.is_autocast_enabled("cpu"),
        lambda enabled: torch.set_autocast_enabled("cpu", enabled),
        words=_on,
    ),
    _Item(
        "the dtype of torch's autocast on the CPU",
        lambda: torch.get_autocast_dtype("cpu"),
        lambda dtype: torch.set_autocast_dtype("cpu", dtype),
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
    _Item("the state of NumPy's random generator", _numpy_state, _set_numpy_state, _wordless, _same_numpy_state),
    _Item(DRAWN, random.getstate, random.setstate, _wordless),
    _Item(
        "NumPy's handling of floating-point errors",
        _numpy_errors,
        _set_numpy_errors,
        words=lambda handling: ", ".join(f"{error} {done}" for error, done in handling.items()),
    ),
    _Item("the working directory", os.getcwd, os.chdir),
    *map(_of_sys, ("stdout", "stderr", "excepthook")),
    _Item("the handler of SIGINT", _sigint, lambda handler: signal.signal(signal.SIGINT, handler), _wordless),
    _Item("the level of logging.disable", lambda: logging.root.manager.disable, logging.disable, logging.getLevelName),
    _Item(
        "the filter of all warnings",
        lambda: tuple(warnings.filters),
        _set_filters,
        words=lambda filters: " before ".join(_for_all(filters)) or "not set",
        same=lambda was, now: _for_all(was) == _for_all(now),
    ),
)
