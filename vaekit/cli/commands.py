"""Commands that other packages bring, through entry points of the group `vaekit.commands`.

Each entry point names a function that is a typer command; its own name is the command's. They are looked for only where the
first argument is no command of vaekit's own, or where all are listed. What is wrong with one harms no other.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from vaekit.errors import ConfigError, PluginError, VaekitError, short
from vaekit.known import COMMANDS

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "vaekit.commands"


@dataclass(frozen=True)
class Command:
    """A command that a package brings.

    Args:
        name: what people type.
        package: the distribution that it comes in.
        version: of that distribution.
        seconds: how long it took to load.
        function: that runs it; None where it is out of use.
        error: why it is out of use, and what to do.
    """

    name: str
    package: str
    version: str
    seconds: float = 0.0
    function: Callable[..., Any] | None = None
    error: str = ""


class Commands(TyperGroup):
    """The commands of vaekit's own, and where one is not among them those that other packages bring."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._add()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        self._add()
        return super().list_commands(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        super().format_commands(ctx, formatter)
        rows = [(command.name, f"of {command.package}: {command.error}") for command in self.brought if command.error]
        if rows:
            with formatter.section("Out of use"):
                formatter.write_dl(rows)

    @cached_property
    def brought(self) -> list[Command]:
        """What other packages bring, in use or not."""
        return found(self.commands)

    def _add(self) -> None:
        """Add what other packages bring; what is out of use or not installed is not listed, and an error where it is run."""
        if "brought" in self.__dict__:
            return
        for command in self.brought:
            if command.function is not None:
                self.commands[command.name] = _runnable(command.name, command.function)
            elif command.name not in self.commands:
                said = f"the command {command.name!r} of {command.package} {command.version} is out of use: {command.error}"
                self.commands[command.name] = _refusal(command.name, PluginError(said))
        for name, (package, extra) in COMMANDS.items():
            if name not in self.commands:
                self.commands[name] = _refusal(name, ConfigError(f"the command {name!r} comes with {_where(package, extra)}"))


def found(own: Iterable[str]) -> list[Command]:
    """The commands that other packages bring, in order, as far as VAEKIT_PLUGINS lets them load.

    Args:
        own: the names of vaekit's own commands, which nobody else can take.
    """
    from vaekit.packages import entries, named

    own, there, asked = set(own), entries(GROUP)[0], named()
    used = {key: entry for key, entry in there.items() if asked is None or key[0] in asked}
    by: dict[str, list[str]] = {}
    for package, name in sorted(used):
        by.setdefault(name, []).append(package)
    return [_command(package, name, entry, own, by[name]) for (package, name), entry in sorted(used.items())]


def packages() -> set[str]:
    """The packages that bring commands, those that VAEKIT_PLUGINS leaves out included."""
    from vaekit.packages import entries

    return {package for package, _ in entries(GROUP)[0]}


def _command(package: str, name: str, entry: "EntryPoint", own: set[str], packages: list[str]) -> Command:
    from vaekit.packages import stated

    function, error, start = None, "", time.perf_counter()
    if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name):
        error = f"{short(repr(name))} is no name of a command: take lower-case letters and digits with hyphens"
    elif name in own:
        error = f"{name!r} is vaekit's own: give yours another name, or pip uninstall {package}"
    elif len(packages) > 1:
        others = f"{', '.join(packages[:-1])} and {packages[-1]}"
        error = f"{name!r} is brought by {others}: pip uninstall one of them, or set VAEKIT_PLUGINS to the packages to load"
    else:
        function, error = _loaded(package, entry)
    return Command(short(name), package, stated(entry.dist, "Version"), time.perf_counter() - start, function, error)


def _loaded(package: str, entry: "EntryPoint") -> tuple[Callable[..., Any] | None, str]:
    """The function that an entry point names, or why it is out of use."""
    from vaekit.packages import function_of

    def check(function: Any) -> None:
        if isinstance(function, typer.Typer):
            raise PluginError(f"{entry.value} is {short(repr(function))}: name a function")
        _runnable(entry.name, function)

    try:
        return function_of(package, entry, check), ""
    except PluginError as error:
        return None, str(error)


def _runnable(name: str, function: Callable[..., Any], **settings: Any) -> Any:
    """A function as a command that a group takes."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, **settings)(function)
    return typer.main.get_command(alone)


def _refusal(name: str, error: VaekitError) -> Any:
    """A command that takes whatever it is given, and raises."""

    def refuse(ctx: typer.Context) -> None:
        raise error

    anything = {"allow_extra_args": True, "ignore_unknown_options": True}
    return _runnable(name, refuse, hidden=True, add_help_option=False, context_settings=anything)


def _where(package: str, extra: str) -> str:
    """The package of vaekit's own that brings a command which is not there, and what to do."""
    from importlib.metadata import PackageNotFoundError, version

    from vaekit.packages import ALLOWED, named

    try:
        there = version(package)
    except PackageNotFoundError:
        return f'{package}, which is not installed: pip install "vaekit[{extra}]"'
    asked = named()
    if asked is not None and package not in asked:
        return f"{package}, which {ALLOWED} leaves out: add it there, or unset {ALLOWED}"
    return f"a later {package} than {there}, which is installed: pip install --upgrade {package}"
