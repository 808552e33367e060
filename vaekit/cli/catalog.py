"""`vaekit parts`, `plugins`, `data` and `recipes`: what there is."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaekit.cli import commands, show
from vaekit.cli.training import Json
from vaekit.errors import ConfigError, short, suggestion

if TYPE_CHECKING:
    from vaekit.plugins import Plugin, Plugins


def parts(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND] [PATTERN] | show KIND NAME", help="Which to list, or one to show."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What can be combined, with options, defaults and bounds."""
    asked = arguments or []
    if asked[:1] == ["show"]:
        if len(asked) != 3:
            raise ConfigError("which one? vaekit parts show KIND NAME")
        _show_part(asked[1], asked[2], as_json)
        return
    if len(asked) > 2:
        raise ConfigError("vaekit parts [KIND] [PATTERN]")
    from vaekit import registry
    from vaekit.plugins import plugins as load_plugins

    found = registry.list(*asked)
    rows = []
    for part in found:
        origin = load_plugins().origin(part)
        options = ", ".join(option.name for option in registry.options(part))
        rows.append((part.kind, part.name, origin.package if origin else "", options))
    if as_json:
        show.document([{"kind": kind, "name": name, "package": package} for kind, name, package, _ in rows])
    else:
        show.table(rows, ("kind", "name", "package", "options"))


def _show_part(kind: str, name: str, as_json: bool) -> None:
    import inspect

    from vaekit import registry

    part = registry.find(kind, name)
    options = registry.options(part)
    if as_json:
        document = {"kind": kind, "name": name, "options": {option.name: vars(option) for option in options}}
        show.document(document)
        return
    about = inspect.cleandoc(part.__doc__ or "")
    typer.echo(f"{kind} {name}\n\n{re.split('Args:|Raises:|References:', about)[0].strip()}\n")
    for option in options:
        default = "none" if option.default is None else option.default
        bounds = f", {option.bounds}" if option.bounds else ""
        typer.echo(f"{kind}.{option.name} = {default}  ({option.type}{bounds})")
        if option.summary:
            typer.echo(f"    {option.summary}")
    references = about.partition("References:")[2].strip()
    if references:
        typer.echo("\n" + "\n".join(line.strip() for line in references.splitlines()))


def plugins(context: typer.Context, as_json: Json = False) -> None:
    """What is installed, what it brings, and what is broken."""
    from vaekit.plugins import plugins as load_plugins

    loaded = load_plugins()
    group: Any = context.find_root().command
    others: list[commands.Command] = group.brought
    if as_json:
        show.document([*map(_described, loaded.all), *map(_described_command, others)])
        return
    several = {plugin.package for plugin in loaded.all if len(loaded.of(plugin.package)) > 1}
    rows = []
    for plugin in loaded.all:
        brings = ", ".join([f"{part.kind} {part.name}" for part in plugin.parts] + [f"data {d.name}" for d in plugin.datasets])
        what = f"out of use: {plugin.error}" if plugin.error else brings
        shown = f"{plugin.package} ({plugin.name})" if plugin.package in several else plugin.package
        rows.append((shown, plugin.version, f"{1000 * plugin.seconds:.0f} ms", what))
    for command in others:
        what = f"command {command.name}" + (f" out of use: {command.error}" if command.error else "")
        rows.append((command.package, command.version, f"{1000 * command.seconds:.0f} ms", what))
    show.table(rows, ("package", "version", "loaded in", "brings"))
    for line in _remarks(loaded):
        typer.echo(line)


def _described(plugin: "Plugin") -> dict[str, Any]:
    return {
        "package": plugin.package,
        "version": plugin.version,
        "name": plugin.name,
        "parts": [f"{part.kind} {part.name}" for part in plugin.parts],
        "datasets": [dataset.name for dataset in plugin.datasets],
        "commands": [],
        "seconds": round(plugin.seconds, 3),
        "error": plugin.error,
        "notes": plugin.notes,
    }


def _described_command(command: commands.Command) -> dict[str, Any]:
    return {
        "package": command.package,
        "version": command.version,
        "name": command.name,
        "parts": [],
        "datasets": [],
        "commands": [] if command.error else [command.name],
        "seconds": round(command.seconds, 3),
        "error": command.error,
        "notes": [],
    }


def _remarks(loaded: "Plugins") -> Iterator[str]:
    """What else there is to say, one line each."""
    from vaekit.packages import named

    for plugin in loaded.all:
        for note in plugin.notes:
            yield f"note on {plugin.package}: {note}"
    for kind, name in loaded.clashes():
        yield f"clash: {loaded.clash(kind, name)}"
    asked, others = named(), commands.packages()
    left_out = {*loaded.left_out, *(others.difference(asked) if asked is not None else ())}
    if left_out:
        yield f"VAEKIT_PLUGINS leaves out {', '.join(sorted(left_out))}"
    known = {*left_out, *others, *(plugin.package for plugin in loaded.all)}
    for name in (name for name in loaded.absent if name not in others):
        cure = suggestion(name, known) or ": correct it, or install it"
        yield f"VAEKIT_PLUGINS names {short(repr(name))}, which is no installed plugin{cure}"


def data(
    name: Annotated[str | None, typer.Argument(help="A data set to read and describe.")] = None,
    data_root: Annotated[str | None, typer.Option(help="Where data sets are.  [env: VAEKIT_DATA]")] = None,
    as_json: Json = False,
) -> None:
    """The data sets there are, or one of them in numbers."""
    if name is not None:
        from vaekit.data.prepare import SPLITS, load

        loaded = load(name, root=data_root)
        sizes = {split: len(getattr(loaded, split)) for split in SPLITS}
        if as_json:
            show.document({"name": name, "shape": loaded.shape, **sizes, "classes": loaded.info.classes})
        else:
            show.table([("shape", loaded.shape), *sizes.items(), ("classes", ", ".join(loaded.info.classes) or "none")])
        return
    from vaekit.plugins import plugins as load_plugins
    from vaekit.registry import dataset

    found = [dataset(known) for known in load_plugins().names("dataset")]
    if as_json:
        show.document([{"name": d.name, "takes_path": d.takes_path, "summary": d.summary} for d in found])
    else:
        show.table([(f"{d.name}:PATH" if d.takes_path else d.name, d.summary) for d in found], ("name", "what"))


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to show.")] = None,
    as_json: Json = False,
) -> None:
    """Named configs for `vaekit train --recipe NAME`."""
    from vaekit import recipes as known

    if name is not None:
        recipe = known.load(name)
        if name.endswith(".json"):
            from vaekit.fitting import check

            check(recipe)
        show.document(recipe.model_dump(mode="json"))
    elif as_json:
        show.document({found: known.load(found).summary for found in known.names()})
    else:
        show.table([(found, known.load(found).summary) for found in known.names()], ("name", "what"))
