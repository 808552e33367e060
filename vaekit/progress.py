"""How a run goes, on standard error: a bar on a terminal, a line an epoch elsewhere, or nothing."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from vaekit.training import Report

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """What `fit` tells; a context while training runs."""

    every: float
    """Seconds between reports within an epoch that it would like to have."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def message(self, text: str) -> None:
        """Something to say, in lines."""

    def report(self, report: Report) -> None:
        """How training stands."""


def choose(wanted: bool, epochs: int) -> Progress:
    """Nothing unless it is wanted; a bar where standard error is a terminal, lines elsewhere."""
    if not wanted or sys.stderr is None:
        return _Silent()
    return _Bars(_console(), epochs) if sys.stderr.isatty() else _Lines(epochs)


@contextmanager
def counting(what: str, total: int, wanted: bool = True) -> Iterator[Callable[[int], None]]:
    """Say on standard error how many there are so far: by a bar on a terminal, by a line every ten seconds elsewhere.

    Args:
        what: is counted.
        total: of them.
        wanted: whether to say anything.
    """
    if not wanted or sys.stderr is None:
        yield lambda done: None
        return
    if sys.stderr.isatty():
        from rich.progress import Progress as Bar

        with Bar(console=_console(), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    said = time.monotonic()

    def tell(done: int) -> None:
        nonlocal said
        if time.monotonic() - said > _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            _say(f"{what}: {done:,} of {total:,}")

    yield tell


_SECONDS_BETWEEN_LINES = 10.0


class _Unheard:
    """A stream that may take nothing, as that of a terminal that was closed, which is no reason to stop what is going on.

    Args:
        stream: to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console() -> "Console":
    from rich.console import Console  # here, because importing it draws from the user's random numbers

    return Console(file=_Unheard(sys.stderr))  # type: ignore[arg-type]


def _say(text: str) -> None:
    with suppress(OSError):  # as in _Unheard
        print(text, file=sys.stderr, flush=True)  # noqa: T201 (the one place that talks to people while something takes long)


class _Silent:
    every = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def report(self, report: Report) -> None:
        pass


class _Lines(_Silent):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.line = ""

    def message(self, text: str) -> None:
        _say(text)

    def report(self, report: Report) -> None:
        if report.split == "train" and not report.partial:
            self.line = f"epoch {report.epoch}/{self.epochs}  train {terms(report)}  {report.images_per_second:,.0f} images/s"
        elif report.split == "validation":
            self.message(f"{self.line}  validation {terms(report)}{'  best' if report.best else ''}")


class _Bars(_Silent):
    every = 0.25

    def __init__(self, console: "Console", epochs: int) -> None:
        self.console, self.epochs = console, epochs
        self.validation = ""

    def __enter__(self) -> Self:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=min(24, self.console.width // 6)),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}", table_column=Column(no_wrap=True, ratio=1)),  # cut where there is no room
            console=self.console,
            expand=True,
        )
        self.task = self.bar.add_task("", total=self.epochs, terms="")
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def message(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)

    def report(self, report: Report) -> None:
        if report.split == "validation":
            self.validation = f"  validation {total(report):.2f}{' best' if report.best else ''}"
            return
        shown = f"{terms(report)}  {report.images_per_second:,.0f} images/s{self.validation}"
        self.bar.update(
            self.task,
            description=f"epoch {report.epoch}/{self.epochs}",
            completed=report.epoch - 1 + report.done,
            terms=shown,
        )


def terms(report: Report) -> str:
    """`103.21 = recon 98.02 + KL 5.19`, in nats per example."""
    names = {"reconstruction": "recon", "kl": "KL", "kl_mc": "KL (Monte Carlo)", "penalty": "penalty"}
    own = _of_first_player(report)
    parts = " | ".join(f"{short} {own[name]:.2f}" for name, short in names.items() if name in own)
    whole = total(report)
    label = "profile (no bound) " if "profile" in own else ""
    loss = own.get("loss", whole)
    parts += f" | loss {loss:.2f}" if parts and abs(loss - whole) > 0.005 else ""
    return f"{label}{whole:.2f} ({parts})" if parts else f"{whole:.2f}"


def total(report: Report) -> float:
    """What stands for all of a report: the bound, else what is nearest to it."""
    own = _of_first_player(report)
    return next((own[name] for name in ("nelbo", "profile", "loss", "reconstruction") if name in own), math.nan)


def _of_first_player(report: Report) -> dict[str, float]:
    """The terms of the first player by their own names: where there are several, each is called PLAYER.NAME."""
    player, dot, _ = next(iter(report.terms), "").partition(".")
    return {name.removeprefix(player + dot): value for name, value in report.terms.items()} if dot else report.terms
