"""The installed packages, their entry points, and which of them VAEKIT_PLUGINS lets load.

What is wrong with the metadata of one package is the affair of that package.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from vaekit.diagnosis import unreadable
from vaekit.errors import short

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
