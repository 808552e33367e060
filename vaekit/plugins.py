"""The plugin manager: finds plugins by their entry points, loads each once and apart, and knows what each brought.

Plugins load on the first look-up, never on import. One that fails is remembered with its reason and harms nobody else.
`VAEKIT_PLUGINS=a,b` (names of distributions; or nothing at all) restricts what loads; the built-in parts always do.
"""

import os
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from threading import RLock
from typing import Any

import pluggy

from vaekit import hookspecs
from vaekit.contract import check_part
from vaekit.data.catalog import DataSet
from vaekit.errors import PluginError
from vaekit.parts import Part

GROUP = "vaekit"


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
        error: why it is out of use, if it is.
    """

    package: str
    version: str
    name: str
    parts: tuple[type[Part], ...] = ()
    datasets: tuple[DataSet, ...] = ()
    seconds: float = 0.0
    error: str = ""


class Plugins:
    """The plugins of this environment, and the parts and data sets in use by kind and name."""

    def __init__(self, found: list[Plugin]) -> None:
        self.all = tuple(found)
        self._origin: dict[object, Plugin] = {}
        self._named: dict[tuple[str, str], list[Any]] = {}
        for plugin in found:
            brought: tuple[Any, ...] = (*plugin.parts, *plugin.datasets)
            for item in brought:
                self._origin[item] = plugin
                self._named.setdefault((_kind(item), item.name), []).append(item)

    def find(self, kind: str, name: str) -> Any | None:
        """The part of that kind and name, or the data set for the kind `dataset`; None where there is none.

        Raises:
            PluginError: where two packages bring it.
        """
        there = self._named.get((kind, name), [])
        if len(there) > 1:
            packages = " and ".join(sorted(self._origin[item].package for item in there))
            raise PluginError(
                f"{kind} {name!r} is brought by {packages}: uninstall one, or set {_ALLOWED} to the packages to load"
            )
        return there[0] if there else None

    def names(self, kind: str) -> list[str]:
        """The names of that kind that one package brings, sorted."""
        return sorted(name for (k, name), items in self._named.items() if k == kind and len(items) == 1)

    def clashes(self) -> dict[tuple[str, str], list[str]]:
        """Kinds and names that several packages bring, with the packages: none of them is in use."""
        return {key: sorted(self._origin[i].package for i in items) for key, items in self._named.items() if len(items) > 1}

    def origin(self, item: object) -> Plugin | None:
        """The plugin that brought a part or a data set."""
        return self._origin.get(item)

    def broken(self) -> list[Plugin]:
        """The plugins that are out of use."""
        return [plugin for plugin in self.all if plugin.error]


def plugins() -> Plugins:
    """The plugins of this environment, loaded on the first call."""
    with _LOADING:
        return _loaded()


_ALLOWED = "VAEKIT_PLUGINS"
_LOADING = RLock()


@cache
def _loaded() -> Plugins:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    distinct = {(_package(ep), ep.name): ep for ep in entry_points(group=GROUP)}
    return Plugins([_load(manager, ep) for _, ep in sorted(distinct.items()) if _allowed(_package(ep))])


def _load(manager: pluggy.PluginManager, ep: EntryPoint) -> Plugin:
    package, version = _package(ep), ep.dist.version if ep.dist else "unknown"
    start = time.perf_counter()
    try:
        module = ep.load()
        manager.register(module, name=f"{package}:{ep.name}")
        brought = _call_hooks(manager, module)
        for part in brought["vaekit_parts"]:
            check_part(part)
        for dataset in brought["vaekit_datasets"]:
            if not isinstance(dataset, DataSet):
                raise PluginError(f"vaekit_datasets returned {dataset!r}, which is no vaekit.DataSet")
    except Exception as error:  # whatever a plugin raises is its own affair: remember it, go on without it
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        return Plugin(package, version, ep.name, seconds=time.perf_counter() - start, error=reason)
    return Plugin(
        package,
        version,
        ep.name,
        tuple(brought["vaekit_parts"]),
        tuple(brought["vaekit_datasets"]),
        time.perf_counter() - start,
    )


def _call_hooks(manager: pluggy.PluginManager, module: object) -> dict[str, list[Any]]:
    """What each hook of one plugin returns; pluggy's own call would let one plugin end it for all."""
    brought: dict[str, list[Any]] = {"vaekit_parts": [], "vaekit_datasets": []}
    implemented = 0
    for caller in manager.get_hookcallers(module) or []:
        if caller.spec is None:
            raise PluginError(f"it implements a hook {caller.name!r} that vaekit does not have: there are {', '.join(brought)}")
        for implementation in caller.get_hookimpls():
            if implementation.plugin is module:
                implemented += 1
                returned = implementation.function()
                if not isinstance(returned, list):
                    raise PluginError(f"{caller.name} returned {returned!r}, where a list is wanted")
                brought[caller.name] = returned
    if not implemented:
        raise PluginError(f"it implements no hook: decorate {' or '.join(brought)} with @vaekit.hookimpl")
    return brought


def _allowed(package: str) -> bool:
    allowed = os.environ.get(_ALLOWED)
    return package == "vaekit" or allowed is None or package in {_canonical(name) for name in allowed.split(",")}


def _package(ep: EntryPoint) -> str:
    return _canonical(ep.dist.name) if ep.dist else "unknown"


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def _kind(item: Any) -> str:
    return "dataset" if isinstance(item, DataSet) else item.kind
