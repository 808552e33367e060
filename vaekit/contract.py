"""What a class must be to be registered as a part, and an object to be registered as a data set."""

import inspect
from typing import Any

from vaekit.config import is_name
from vaekit.data.catalog import DataSet
from vaekit.errors import PluginError, short
from vaekit.parts import INTERFACES, Part
from vaekit.schema import check_schema


def check_part(part: object) -> None:
    """Whether a class can serve as a part.

    Raises:
        PluginError: saying what is wrong with it and what to write.
    """
    if isinstance(part, Part):
        name = type(part).__name__
        raise PluginError(f"vaekit_parts returned a list with an instance of {name}: return [{name}], the class itself")
    if not (isinstance(part, type) and issubclass(part, Part)):
        raise PluginError(f"vaekit_parts returned a list with {short(repr(part))}, which is no part: subclass one of {_ALL}")
    try:
        _check(part)
    except PluginError as error:
        raise PluginError(f"{part.__module__}.{part.__qualname__}: {error}") from error.__cause__


def check_dataset(dataset: object) -> None:
    """Whether an object can serve as a data set.

    Raises:
        PluginError: saying what is wrong with it and what to write.
    """
    if not isinstance(dataset, DataSet):
        raise PluginError(
            f"vaekit_datasets returned a list with {short(repr(dataset))}, which is no data set: "
            "return [vaekit.DataSet(name, summary, load)]"
        )
    if not isinstance(dataset.name, str) or not is_name(dataset.name):
        raise PluginError(f"the name of a data set is {short(repr(dataset.name))}; {_NAMES}, like 'fashion-mnist'")
    what = f"data set {dataset.name!r}"
    if not isinstance(dataset.summary, str) or not dataset.summary.isprintable() or not dataset.summary:
        raise PluginError(f"{what}: its summary is {short(repr(dataset.summary))}: write one line of what it is")
    if not callable(dataset.load):
        raise PluginError(
            f"{what}: its load is {short(repr(dataset.load))}: give a function of (path, root) that returns a Raw"
        )


_NAMES = "a name is lower-case letters and digits with hyphens"
_ALL = ", ".join(interface.__name__ for interface in INTERFACES.values())


def _check(part: type[Part]) -> None:
    implemented = [i for i in INTERFACES.values() if issubclass(part, i)]
    if len(implemented) != 1:
        names = " and ".join(i.__name__ for i in implemented) or "no interface"
        raise PluginError(f"it implements {names}: subclass one of {_ALL}, and no other")
    interface = implemented[0]
    abstract = sorted(getattr(part, "__abstractmethods__", ()))
    if abstract:
        wanted = ", ".join(f"{name}({', '.join(inspect.signature(getattr(part, name)).parameters)})" for name in abstract)
        raise PluginError(f"it does not define {wanted}, which every {interface.kind} has: write that")
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not is_name(name):
        raise PluginError(f"its name is {short(repr(name))}; {_NAMES}: write name = 'transposed-conv', for instance")
    if part.kind != interface.kind:
        raise PluginError(f"its kind is {short(repr(part.kind))}: remove that, its interface says {interface.kind!r}")
    _check_wiring(part, interface)
    check_schema(part)
    if not inspect.cleandoc(part.__doc__ or "") or part.__doc__ == interface.__doc__:
        raise PluginError("it has no docstring: write what it does in one sentence, and its options under Args:")


def _check_wiring(part: type[Part], interface: type[Part]) -> None:
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    parameters = list(inspect.signature(part.__init__).parameters.values())[1:]
    wiring = [stars.get(p.kind, "") + p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    if wiring != [*interface.wires]:
        wanted = "".join(f"{name}, " for name in interface.wires)
        raise PluginError(
            f"its constructor begins with ({', '.join(('self', *wiring))}): "
            f"a part of kind {interface.kind!r} has __init__(self, {wanted}*, <options>)"
        )
