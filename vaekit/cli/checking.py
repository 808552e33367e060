"""`vaekit check`: the conformance suite for what is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import commands, overrides, show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, UnknownPart, short, suggestion

if TYPE_CHECKING:
    from vaekit.plugins import Plugin
    from vaekit.testing.results import Result
    from vaekit.testing.suite import Checked


def check(
    what: Annotated[
        list[str],
        typer.Argument(metavar="PACKAGE | [KIND] NAME [KIND.OPTION=VALUE]...", help="A package, a part or a data set."),
    ],
    shape: Annotated[list[str] | None, typer.Option(help="Of data to try parts on, such as 3,32,32; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Hold a part, or all that a package brings, to what every part promises."""
    names = [argument for argument in what if "=" not in argument.partition(":")[0]]
    options = overrides.parse(argument for argument in what if argument not in names).parts
    results = _results(names, options, _shapes(shape or []))
    failed: list[Result] = []
    rows: list[dict[str, Any]] = []
    for result in results:
        if not as_json:
            if not rows:
                typer.echo(typer.style(f"{'part':<32}  {'check':<34}  result", bold=True))
            said = f": {short(result.message, 600)}" if result.message else ""
            typer.echo(f"{short(result.part):<32}  {result.check:<34}  {result.outcome}{said}")
        rows.append({**vars(result), "seconds": round(result.seconds, 3)})
        if result.outcome == "FAILED":
            failed.append(result)
    if as_json:
        show.document(rows)
    else:
        seconds = sum(row["seconds"] for row in rows)
        typer.echo(f"\n{len(rows)} checks in {seconds:.1f} s, {len(failed) or 'none'} failed")
    if failed:
        raise typer.Exit(1)


def _results(names: list[str], options: dict[str, dict[str, Any]], shapes: "tuple[tuple[int, ...], ...]") -> "Iterator[Result]":
    """The results of what was asked for, one by one."""
    from vaekit import registry
    from vaekit.plugins import plugins
    from vaekit.testing.benches import SHAPES
    from vaekit.testing.results import made, of_plugin
    from vaekit.testing.suite import checks_for

    if not 1 <= len(names) <= 2:
        raise ConfigError("what is to be checked? vaekit check PACKAGE, or vaekit check [KIND] NAME")
    there = plugins().of(names[0]) if len(names) == 1 else []
    if there:
        if options:
            raise ConfigError("options are for one part: vaekit check KIND NAME KIND.OPTION=VALUE")
        for plugin in there:
            _show_traceback(plugin)
            yield from of_plugin(plugin, shapes or SHAPES)
        return
    source, colon, path = names[-1].partition(":")
    if colon:
        for one in checks_for(registry.dataset(source), {"path": path}):
            yield made(one)
        return
    parts = _named(names)
    stray = options.keys() - {kind for kind, _ in parts}
    if stray:
        raise ConfigError(f"no {min(stray)} is to be checked, so it has no options here")
    for kind, part in parts:
        for one in checks_for(part, options.get(kind), shapes=shapes or SHAPES):
            yield made(one)


def _named(names: list[str]) -> "list[tuple[str, Checked]]":
    """The parts and data sets of a name, of one kind or of all, each with its kind."""
    from vaekit import registry
    from vaekit.plugins import plugins

    if len(names) == 2:
        kind, name = names
        return [(kind, registry.dataset(name) if kind == "dataset" else registry.find(kind, name))]
    (name,) = names
    found: list[tuple[str, Checked]] = [
        (kind, registry.dataset(name) if kind == "dataset" else registry.find(kind, name))
        for kind in (*overrides.KINDS, "dataset")
        if name in plugins().names(kind)
    ]
    if not found:
        raise UnknownPart(_absent(name))
    return found


def _absent(name: str) -> str:
    """Why a name is that of nothing to check, and what to do."""
    from vaekit import registry
    from vaekit.packages import canonical
    from vaekit.plugins import ALLOWED, plugins

    loaded, package = plugins(), canonical(name)
    if package in loaded.left_out:
        return f"{ALLOWED} leaves out {package}: add it there, or unset {ALLOWED}"
    if package in commands.packages():
        return f"package {package} brings commands only, which nothing is promised of: there is nothing to check"
    if _is_installed(package):
        return (
            f"package {package} is installed and brings no plugin: give its pyproject.toml the lines "
            f'[project.entry-points.vaekit] and {package} = "{package.replace("-", "_")}", and install it again'
        )
    packages = sorted({plugin.package for plugin in loaded.all})
    known = {part.name for part in registry.list()} | {*packages, *loaded.left_out, *loaded.names("dataset")}
    return (
        f"no package, part or data set is called {name!r}{suggestion(name, known)} (packages: {', '.join(packages)}; "
        f"`vaekit parts` lists the parts)"
    )


def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package)
    except (PackageNotFoundError, ValueError):  # a name cannot be empty
        return False
    return True


def _show_traceback(plugin: "Plugin") -> None:
    if plugin.traceback:
        typer.echo(plugin.traceback, err=True)


def _shapes(given: list[str]) -> "tuple[tuple[int, ...], ...]":
    found = []
    for text in given:
        sides = text.split(",")
        if not 1 <= len(sides) <= 3 or not all(side.isdecimal() and int(side) for side in sides):
            raise ConfigError(f"--shape {text}: give one to three sizes with commas between, such as 3,32,32")
        found.append(tuple(map(int, sides)))
    return tuple(found)
