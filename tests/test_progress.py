"""How a run goes, on terminals of several widths, and where nobody hears it."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from vaekit.progress import choose, counting
from vaekit.training import Report

TERMS = {"nelbo": 103.21, "reconstruction": 98.02, "kl": 5.19}


class Terminal:
    """A pseudo-terminal."""

    def __init__(self) -> None:
        self.ours, theirs = os.openpty()
        self.stream = os.fdopen(theirs, "w", buffering=1)

    def shown(self) -> list[str]:
        """The lines of text that it has been told; after this it is told no more."""
        self.stream.close()
        told = b""
        with suppress(OSError):  # which is how it ends
            while piece := os.read(self.ours, 1 << 16):
                told += piece
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told.decode())
        return [line for line in re.split(r"[\r\n]+", text) if line.strip()]

    def close(self) -> None:
        os.close(self.ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    yield terminal
    with suppress(OSError):
        terminal.stream.close()
    with suppress(OSError):
        terminal.close()


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A stream that takes nothing."""
    stream = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    yield stream
    with suppress(OSError):
        stream.close()


def _report(epoch: int, split: str = "train") -> Report:
    return Report(epoch, epoch, split, TERMS, 1.0, 35797.0, 1e-3, best=True)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (60, "103.21 (recon 98.0…"),
        (80, "103.21 (recon 98.02 | KL 5.19)  35,…"),
        (100, "103.21 (recon 98.02 | KL 5.19)  35,797 images/s  val…"),
        (160, "103.21 (recon 98.02 | KL 5.19)  35,797 images/s  validation 103.21 best"),
    ],
)
def test_a_bar_says_all_of_where_it_is_on_a_terminal_of_any_width(
    columns: int, told: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal.stream)
        with choose(True, 3) as progress:
            progress.report(_report(1))
            progress.report(_report(1, "validation"))
            progress.report(_report(2))
    last = terminal.shown()[-1]
    assert len(last) == columns
    assert re.fullmatch(rf"epoch 2/3 [━╸╺]+ \d:\d\d:\d\d ETA [-\d]:[-\d]+:[-\d]+ {re.escape(told)} *", last)


def test_a_terminal_that_is_closed_meanwhile_stops_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    with choose(True, 3) as progress:
        progress.report(_report(1))
        terminal.close()
        progress.report(_report(2))
        progress.message("still here")


def test_a_full_or_closed_standard_error_stops_nothing(full: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaekit.progress._SECONDS_BETWEEN_LINES", 0.0)
    for stream in (full, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with choose(True, 3) as progress, counting("things", 2) as tell:
            progress.message("hello")
            progress.report(_report(1))
            progress.report(_report(1, "validation"))
            tell(1)
