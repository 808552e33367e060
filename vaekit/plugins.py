"""The plugin manager: finds plugins by their entry points, loads each once and apart, and knows what each brought.

Plugins load on the first look-up that needs them, never on import; vaekit's own parts, whose names nobody else can take, need
no other package. A plugin that fails is remembered with its reason and harms nobody else.
`VAEKIT_PLUGINS=a,b` (names of distributions; or nothing at all) restricts what loads; the built-in parts always do.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, PackageNotFoundError, distribution
from typing import Any

from vaekit.blocks import DRAWING
from vaekit.errors import PluginError
from vaekit.loading import GROUP, OURS, Plugin, load
from vaekit.packages import ALLOWED, canonical, entries, named

__all__ = ["ALLOWED", "Plugin", "Plugins", "look_up", "origin", "plugins"]

PATIENCE = 60.0
"""Seconds for which a look-up waits while another thread loads plugins; one of them may be waiting for that very look-up."""


class Plugins:
    """The plugins of this environment, and the parts and data sets in use by kind and name.

    Attributes:
        all: the plugins that were loaded, those out of use included.
        left_out: the packages that VAEKIT_PLUGINS leaves out.
        absent: what VAEKIT_PLUGINS names that is no installed plugin.
    """

    def __init__(self, found: list[Plugin], left_out: tuple[str, ...] = (), absent: tuple[str, ...] = ()) -> None:
        self.all, self.left_out, self.absent = tuple(found), left_out, absent
        self._origin: dict[int, Plugin] = {}
        self._named: dict[tuple[str, str], list[tuple[Plugin, Any]]] = {}
        for plugin in found:
            for key, item in _brought(plugin):
                self._origin[id(item)] = plugin
                self._named.setdefault(key, []).append((plugin, item))

    def find(self, kind: str, name: str) -> Any | None:
        """The part of that kind and name, or the data set for the kind `dataset`; None where there is none.

        Raises:
            PluginError: where it is brought more than once.
        """
        there = self._named.get((kind, name), [])
        if len(there) > 1:
            raise PluginError(self.clash(kind, name))
        return there[0][1] if there else None

    def names(self, kind: str) -> list[str]:
        """The names of that kind that are brought once, sorted."""
        return sorted(name for (k, name), there in self._named.items() if k == kind and len(there) == 1)

    def clashes(self) -> dict[tuple[str, str], list[str]]:
        """Kinds and names that are brought more than once, with the packages: none of them is in use."""
        return {key: sorted(plugin.package for plugin, _ in there) for key, there in self._named.items() if len(there) > 1}

    def clash(self, kind: str, name: str) -> str:
        """By whom something is brought that is brought more than once, and what to do."""
        packages = sorted({plugin.package for plugin, _ in self._named[kind, name]})
        if len(packages) == 1:
            by, cure = f"twice by {packages[0]}", f"pip install --upgrade {packages[0]}, or pip uninstall {packages[0]}"
        else:
            by = f"by {', '.join(packages[:-1])} and {packages[-1]}"
            cure = f"pip uninstall one of them, or set {ALLOWED} to the packages to load"
        return f"{kind} {name!r} is brought {by}, and so not in use: {cure}"

    def origin(self, item: object) -> Plugin | None:
        """The plugin that brought a part or a data set."""
        return self._origin.get(id(item))

    def of(self, package: str) -> list[Plugin]:
        """The plugins that come in a package, however its name is spelt."""
        return [plugin for plugin in self.all if plugin.package == canonical(package)]

    def broken(self) -> list[Plugin]:
        """The plugins that are out of use."""
        return [plugin for plugin in self.all if plugin.error]


def plugins() -> Plugins:
    """The plugins of this environment, loaded on the first call.

    Raises:
        PluginError: where a plugin asks for them while it is loaded, by itself or in a thread that it waits for.
    """
    return _loaded()


def look_up(kind: str, name: str) -> Any | None:
    """As `Plugins.find`, with no more plugins loaded than it takes.

    Raises:
        PluginError: where it is brought more than once; or while plugins load, as `plugins` does.
    """
    ours = None if _busy else _own().find(kind, name)
    return ours if ours is not None else plugins().find(kind, name)


def origin(item: object) -> Plugin | None:
    """As `Plugins.origin`, with no more plugins loaded than it takes."""
    return _own().origin(item) or plugins().origin(item)


_busy: list[str] = []
"""The package that is being loaded."""


@cache
def _loaded() -> Plugins:
    return _alone(_load_all)


@cache
def _own() -> Plugins:
    return _alone(_load_own)


def _alone(load_them: Callable[[], Plugins]) -> Plugins:
    """One thread loads plugins, while no other draws, and the others wait for it; no look-up waits from then on."""
    while not DRAWING.acquire(timeout=PATIENCE):
        at = ", ".join(_busy)
        if at:
            raise PluginError(
                f"plugins have been loading in another thread for {PATIENCE:g} s, {at} at present: "
                "where that waits for this thread, look parts up in a function that is called later; else try again"
            )
    try:
        if _busy:
            raise PluginError("parts are looked up while plugins load: look them up in a function that is called later")
        return load_them()
    finally:
        DRAWING.release()


@cache
def _load_own() -> Plugins:
    try:
        own = distribution(OURS).entry_points.select(group=GROUP)
    except PackageNotFoundError:  # as source code alone
        own = EntryPoints()
    return Plugins([_load(OURS, entry) for entry in own])


@cache
def _load_all() -> Plugins:
    found, unread = entries(GROUP)
    packages = {package for package, _ in found} | {other.package for other in unread}
    asked = named()
    used = packages if asked is None else {OURS, *asked}
    own = _load_own().all
    others = [_load(package, entry) for (package, _), entry in sorted(found.items()) if package in used - {OURS}]
    others += [Plugin(o.package, o.version, o.package, error=o.error) for o in unread if o.package in used]
    taken = {key for plugin in own for key, _ in _brought(plugin)}
    return Plugins(
        sorted([*own, *(_beside(taken, plugin) for plugin in others)], key=lambda plugin: plugin.package),
        tuple(sorted(packages - used)),
        tuple(dict.fromkeys(name for name in asked or () if name not in packages)),
    )


def _load(package: str, entry: EntryPoint) -> Plugin:
    _busy.append(package)
    try:
        return load(entry)
    finally:
        _busy.clear()


def _brought(plugin: Plugin) -> Iterator[tuple[tuple[str, str], Any]]:
    """What a plugin brings, with kind and name."""
    yield from (((part.kind, part.name), part) for part in plugin.parts)
    yield from ((("dataset", dataset.name), dataset) for dataset in plugin.datasets)


def _beside(ours: set[tuple[str, str]], plugin: Plugin) -> Plugin:
    """A plugin as it is used; out of use where it takes the name of a built-in part, which nobody else can then lack."""
    for (kind, name), _ in _brought(plugin):
        if (kind, name) in ours:
            error = f"{kind} {name!r} is vaekit's own: give yours another name, or pip uninstall {plugin.package}"
            return replace(plugin, parts=(), datasets=(), error=error)
    return plugin
