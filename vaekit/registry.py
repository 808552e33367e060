"""Parts and data sets by name."""

from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version

from vaekit.config import DEFAULTS
from vaekit.data.catalog import DataSet
from vaekit.errors import ConfigError, UnknownPart, suggestion
from vaekit.known import EXTRAS
from vaekit.parts import INTERFACES, Part
from vaekit.plugins import ALLOWED, Plugins, look_up, plugins
from vaekit.schema import Option, options

__all__ = ["Option", "dataset", "find", "list", "options"]

_list = list


def find(kind: str, name: str) -> type[Part]:
    """The part of that kind and name.

    Raises:
        UnknownPart: saying what there is, what was perhaps meant, and what brings it.
        PluginError: where it is brought more than once.
    """
    _check_kind(kind)
    part: type[Part] | None = look_up(kind, name)
    if part is None:
        raise UnknownPart(_unknown(kind, name))
    return part


def dataset(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        UnknownPart: saying what there is.
    """
    found: DataSet | None = look_up("dataset", name)
    if found is None:
        raise UnknownPart(_unknown("dataset", name))
    return found


def list(kind: str | None = None, pattern: str = "*") -> _list[type[Part]]:
    """The parts whose name matches, by kind in the order of building and then by name.

    Args:
        kind: one kind, or all of them.
        pattern: with shell wildcards: `re*`.
    """
    if kind is not None:
        _check_kind(kind)
    kinds = [kind] if kind else _list(DEFAULTS)
    return [find(k, name) for k in kinds for name in plugins().names(k) if fnmatchcase(name, pattern)]


def _check_kind(kind: str) -> None:
    if kind not in INTERFACES:
        raise ConfigError(f"no kind of part is called {kind!r}{suggestion(kind, INTERFACES)} (kinds: {', '.join(INTERFACES)})")


def _unknown(kind: str, name: str) -> str:
    loaded = plugins()
    there = loaded.names(kind)
    extra = EXTRAS.get((kind, name))
    if extra:
        message = f"{kind} {name!r} comes from {_where(loaded, extra)}"
    else:
        message = f"unknown {kind} {name!r}{suggestion(name, there)} (installed: {', '.join(there)})"
        if loaded.left_out:
            message += f"\n{ALLOWED} leaves out {', '.join(loaded.left_out)}: add what brings it, or unset {ALLOWED}"
    for plugin in loaded.broken():
        message += f"\nplugin {plugin.package} {plugin.version} is installed but out of use: {plugin.error}"
    return message


def _where(loaded: Plugins, extra: str) -> str:
    """The package that brings what is not there, why it is not there, and what to do."""
    package = f"vaekit-{extra}"
    if package in loaded.left_out:
        return f"{package}, which {ALLOWED} leaves out: add it there, or unset {ALLOWED}"
    if any(plugin.error for plugin in loaded.of(package)):
        return f"{package}, which is out of use"
    try:
        return f"a later {package} than {version(package)}, which is installed: pip install --upgrade {package}"
    except PackageNotFoundError:
        return f"{package}, which is not installed: pip install 'vaekit[{extra}]'"
