"""The installed packages, their entry points, and which of them VAEKIT_PLUGINS lets load.

What is wrong with the metadata of one package is the affair of that package.
"""

import io
import os
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any

from vaekit.compatibility import check_built_for
from vaekit.diagnosis import reason, unreadable
from vaekit.errors import PluginError, short

ALLOWED = "VAEKIT_PLUGINS"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Unread:
    """A package whose entry points cannot be read.

    Args:
        package: its name.
        version: of it.
        error: why, and what to do.
    """

    package: str
    version: str
    error: str


def entries(group: str) -> tuple[dict[tuple[str, str], EntryPoint], list[Unread]]:
    """The entry points of a group by package and name; and the packages whose entry points cannot be read."""
    try:
        return _by_name(entry_points(group=group)), []
    except Exception:  # what is wrong with those of one package, plugin or not, is raised instead of all
        return _one_by_one(group)


def function_of(package: str, entry: EntryPoint, check: Callable[[Any], object]) -> Callable[..., Any]:
    """The function that an entry point names, loaded.

    Args:
        package: that brings it.
        entry: the entry point, which names module:function.
        check: raises where the function is not what is wanted.

    Raises:
        PluginError: saying why it is out of use, and what to do.
    """
    found = re.fullmatch(r"(\w+(?:\.\w+)*)\s*:\s*\w+(?:\.\w+)*\s*", entry.value)
    module = found[1] if found else ""
    try:
        with redirect_stdout(io.StringIO()):  # a result that is one JSON document stays one
            if not found:
                raise PluginError(f"its entry point names {short(repr(entry.value))}: write module:function")
            if entry.dist:
                check_built_for(entry.dist, package)
            function: Callable[..., Any] = entry.load()
            if not callable(function):
                raise PluginError(f"{entry.value} is {short(repr(function))}: name a function")
            check(function)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:  # whatever a module raises, SystemExit too, is its own affair: go on without it
        raise PluginError(reason(raised, module, package)) from None
    return function


def named() -> list[str] | None:
    """The packages that VAEKIT_PLUGINS names; None where it is not set, and all load."""
    asked = os.environ.get(ALLOWED)
    return None if asked is None else [canonical(name.strip()) for name in asked.split(",") if name.strip()]


def canonical(name: str) -> str:
    """The name of a package in the one spelling that all others of it come to (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package_of(distribution: Distribution | None) -> str:
    """The name of a distribution; that of its metadata's folder where they do not say it."""
    name = stated(distribution, "Name")
    if name == UNKNOWN:
        with suppress(Exception):
            name = short(getattr(distribution, "_normalized_name", UNKNOWN))
    return canonical(name)


def stated(distribution: Distribution | None, field: str) -> str:
    """What a distribution says of itself in its metadata, where they can be read and say it."""
    there = None
    with suppress(Exception):  # another encoding than UTF-8, no metadata at all
        there = distribution and distribution.metadata.get_all(field)
    return short(there[0]) or UNKNOWN if there else UNKNOWN


def _one_by_one(group: str) -> tuple[dict[tuple[str, str], EntryPoint], list[Unread]]:
    found: dict[tuple[str, str], EntryPoint] = {}
    unread: list[Unread] = []
    seen: set[str] = set()
    for distribution in distributions():
        package = package_of(distribution)
        if package in seen:  # further down the path, where Python does not look for its modules either
            continue
        seen.add(package)
        try:
            found |= _by_name(distribution.entry_points.select(group=group))
        except Exception as error:
            why = unreadable("entry points", error, distribution)
            unread.append(Unread(package, stated(distribution, "Version"), why))
    return found, unread


def _by_name(entries: Iterable[EntryPoint]) -> dict[tuple[str, str], EntryPoint]:
    return {(package_of(entry.dist), entry.name): entry for entry in entries}
