"""One plugin, loaded apart from all others: what it brings, or why it is out of use, and what it did besides."""

import io
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from vaekit import hookspecs
from vaekit.ambient import DRAWN, Ambient
from vaekit.contract import check_dataset, check_part
from vaekit.data.catalog import DataSet
from vaekit.diagnosis import reason
from vaekit.errors import PluginError, short, suggestion
from vaekit.packages import package_of, stated
from vaekit.parts import Part

GROUP = "vaekit"
OURS = "vaekit"
"""The package that brings the textbook parts: they are found without any other."""


@dataclass(frozen=True)
class Plugin:
    """One plugin, as `vaekit plugins` prints it.

    Args:
        package: the distribution that it comes in.
        version: of that distribution.
        name: of the entry point.
        parts: the parts that it brought.
        datasets: the data sets that it brought.
        seconds: how long it took to load.
        error: why it is out of use, if it is, and what to do.
        notes: what else it did when it was loaded, and what to do.
        traceback: of the error, where it is not one of vaekit's own.
    """

    package: str
    version: str
    name: str
    parts: tuple[type[Part], ...] = ()
    datasets: tuple[DataSet, ...] = ()
    seconds: float = 0.0
    error: str = ""
    notes: tuple[str, ...] = ()
    traceback: str = ""


def load(entry: EntryPoint) -> Plugin:
    """Import what an entry point names and call its hooks; what it changes beyond its own modules is put back.

    Standard output is held back meanwhile: a result that is one JSON document stays one.
    """
    package = package_of(entry.dist)
    brought: dict[str, list[Any]] = {hook: [] for hook in _HOOKS}
    module = error = trace = ""
    with _silence() as printed, _put_back() as changed:
        start = time.perf_counter()
        try:
            module = _module(entry)
            brought = _brought(entry, package)
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # whatever a plugin raises, SystemExit too, is its own affair: go on without it
            error = reason(raised, module, package)
            trace = "" if isinstance(raised, PluginError) else traceback.format_exc()
        seconds = time.perf_counter() - start
    return Plugin(
        package,
        stated(entry.dist, "Version"),
        short(entry.name),
        tuple(brought["vaekit_parts"]),
        tuple(brought["vaekit_datasets"]),
        seconds,
        error,
        (*changed, *printed),
        trace,
    )


_HOOKS = [name for name in dir(hookspecs) if name.startswith("vaekit_")]


def _module(entry: EntryPoint) -> str:
    """The module that an entry point names; its own property is an error where there is none."""
    named = _REFERENCE.fullmatch(entry.value)
    if not named:
        likely = "_".join(re.findall(_DOTTED, re.split(r"[:[]", entry.value)[0])) or "vaekit_bar"
        raise PluginError(
            f"its entry point names {short(repr(entry.value))}, which is no module: write the module's name, such as {likely}"
        )
    return named[1]


_DOTTED = r"\w+(?:\.\w+)*"
_REFERENCE = re.compile(rf"({_DOTTED})\s*(?::\s*{_DOTTED}\s*)?(?:\[.*\])?")


def _brought(entry: EntryPoint, package: str) -> dict[str, list[Any]]:
    """What each hook of a plugin returns, checked."""
    if entry.dist and package != OURS:
        from vaekit.compatibility import check_built_for  # reads requirements, of which our own parts have no need

        check_built_for(entry.dist, package)
    module = entry.load()
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        raise PluginError("it looks parts up while it is imported: do so in a function that is called later")
    brought = _call_hooks(module)
    for part in brought["vaekit_parts"]:
        check_part(part)
    for dataset in brought["vaekit_datasets"]:
        check_dataset(dataset)
    return brought


def _call_hooks(module: object) -> dict[str, list[Any]]:
    """What each hook of one plugin returns; pluggy's own call would let one plugin end it for all."""
    brought: dict[str, list[Any]] = {hook: [] for hook in _HOOKS}
    implementations = _implementations(module)
    if not implementations:
        raise PluginError(f"it implements no hook: decorate {' or '.join(_HOOKS)} with @vaekit.hookimpl")
    for hook, function in implementations:
        returned = function()
        if not isinstance(returned, list):
            raise PluginError(f"{hook} returned {short(repr(returned))}: return a list, if only of one")
        brought[hook] += returned
    return brought


def _implementations(module: object) -> list[tuple[str, Callable[[], Any]]]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
    except pluggy.PluginValidationError as error:
        said = str(error).splitlines()[-1]
        raise PluginError(f"its hooks are not those of vaekit: {said}: write def vaekit_parts(), without arguments") from None
    callers = manager.get_hookcallers(module) or []
    for caller in callers:
        if caller.spec is None:
            near = suggestion(caller.name, _HOOKS) or "; a later one may: pip install --upgrade vaekit"
            raise PluginError(
                f"it implements the hook {caller.name!r}, which this vaekit lacks{near} (hooks: {', '.join(_HOOKS)})"
            )
    return [(caller.name, implementation.function) for caller in callers for implementation in caller.get_hookimpls()]


@contextmanager
def _put_back() -> Iterator[list[str]]:
    """Put back what is shared by all and changes meanwhile; gives the notes that say so."""
    notes: list[str] = []
    before = Ambient.now()
    try:
        yield notes
    finally:
        changes = before.differences()
        left: set[str] = set()
        if changes:
            before.restore()
            left = {change.what for change in before.differences()}
        for change in (change for change in changes if change.what != DRAWN):
            value = f" to {short(change.now)}" if change.now else ""
            done = "cannot be put back" if change.what in left else "put back"
            notes.append(f"it changed {change.what}{value} when it was loaded ({done}): leave that as it is on import")


@contextmanager
def _silence() -> Iterator[list[str]]:
    """Hold standard output back; gives the note that says so."""
    notes: list[str] = []
    held: Any = _Held(sys.stdout)
    try:
        with redirect_stdout(held):
            yield notes
    finally:
        held.holds = False
        text = held.text.getvalue()
        if text:
            first, *more = text.strip().splitlines() or [""]
            shown = short(first, 60) + (" …" if more else "")
            notes.append(f"it printed '{shown}' when it was loaded: remove the print, or write to sys.stderr")


class _Held:
    """In the place of standard output: passes on what other threads write, and later what a module writes that kept it."""

    def __init__(self, stdout: Any) -> None:
        self.stdout, self.text, self.thread = stdout, io.StringIO(), threading.get_ident()
        self.holds = True

    def write(self, text: str) -> int:
        mine = self.holds and threading.get_ident() == self.thread
        written: int = (self.text if mine or self.stdout is None else self.stdout).write(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stdout, name)
