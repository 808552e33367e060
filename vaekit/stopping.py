"""Signals that ask the process to stop: a run hears them between two steps, so that what it leaves behind is whole."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """What asked the run to stop, if anything did.

    Attributes:
        signal: its number, once there was one.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.signal: int | None = None
        self._ask, self._since = ask, 0.0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Ask the run to stop after this step; at the second Ctrl-C end at once."""
        if self.signal is not None and time.monotonic() - self._since > _ONE_PRESS:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal, self._since = number, time.monotonic()
            self._ask()


@contextmanager
def heard(ask: Callable[[], None]) -> Iterator[Stop]:
    """A block in which Ctrl-C and SIGTERM call `ask` instead of ending the process; nothing changes outside the main thread.

    SIGTERM is sent again after the block, to whoever listened to it before.
    """
    stop = Stop(ask)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.signal(number, stop.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == stop.hear:  # else somebody has set another meanwhile
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python
    if stop.signal == signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def unwound() -> Iterator[None]:
    """A block that SIGTERM leaves as an exception does, so that nothing of it stays behind; in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_ONE_PRESS = 1.0  # seconds; torchrun passes on a Ctrl-C that the terminal has sent to each process already
