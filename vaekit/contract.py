"""What a class must be to be registered as a part."""

import inspect

from vaekit.config import is_name
from vaekit.errors import PluginError
from vaekit.parts import INTERFACES, Part
from vaekit.schema import check_schema


def check_part(part: object) -> None:
    """Whether a class can serve as a part.

    Raises:
        PluginError: saying what is wrong with it and what to write.
    """
    if not (isinstance(part, type) and issubclass(part, Part)):
        raise PluginError(f"vaekit_parts returned {part!r}, which is no vaekit part: subclass one of {_interfaces()}")
    try:
        _check(part)
    except PluginError as error:
        raise PluginError(f"{part.__module__}.{part.__qualname__}: {error}") from None


def _check(part: type[Part]) -> None:
    implemented = [i for i in INTERFACES.values() if issubclass(part, i)]
    if len(implemented) != 1:
        raise PluginError(f"it implements {len(implemented)} interfaces; a part implements one of {_interfaces()}")
    abstract = sorted(getattr(part, "__abstractmethods__", ()))
    if abstract:
        raise PluginError(f"it does not define {', '.join(abstract)}")
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not is_name(name):
        raise PluginError(f"its name is {name!r}; a name is lower-case letters and digits with hyphens, like 'transposed-conv'")
    if part.kind != implemented[0].kind:
        raise PluginError(f"its kind is {part.kind!r}; leave it to its interface ({implemented[0].kind!r})")
    _check_wiring(part, implemented[0])
    check_schema(part)
    if not inspect.cleandoc(part.__doc__ or "") or part.__doc__ == implemented[0].__doc__:
        raise PluginError("it has no docstring")


def _check_wiring(part: type[Part], interface: type[Part]) -> None:
    parameters = list(inspect.signature(part.__init__).parameters.values())[1:]
    wiring = tuple(p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY)
    if wiring != interface.wires:
        wanted = "".join(f"{name}, " for name in interface.wires)
        raise PluginError(
            f"its constructor begins with ({', '.join(('self', *wiring))}); "
            f"a part of kind {interface.kind!r} has __init__(self, {wanted}*, <options>)"
        )


def _interfaces() -> str:
    return ", ".join(i.__name__ for i in INTERFACES.values())
