"""A part's constructor is its schema: options, defaults and bounds read from the signature, values checked against it."""

import inspect
import json
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from vaekit.errors import ConfigError, PluginError, short, suggestion
from vaekit.options import check_lengths, explain
from vaekit.parts import Part


@dataclass(frozen=True)
class Option:
    """One option of a part, as `vaekit parts show` prints it.

    Args:
        name: what users type.
        type: in words: `integer`, `number`, `boolean`, `one of a | b`, `list of integer`.
        default: a JSON value.
        bounds: in words, such as `1 to 4096`; empty where there are none to state.
        summary: what the part's docstring says of it.
    """

    name: str
    type: str
    default: Any
    bounds: str
    summary: str


def options(part: type[Part]) -> list[Option]:
    """The options of a part, in the order of its signature."""
    properties = json_schema(part)
    documented = _documented(part)
    return [
        Option(
            name,
            _in_words(properties[name]),
            json.loads(json.dumps(default)),
            _bounds(properties[name]),
            documented.get(name, ""),
        )
        for name, default in defaults(part).items()
    ]


def defaults(part: type[Part]) -> dict[str, Any]:
    """Every option of a part with its default."""
    parameters = inspect.signature(part.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def validate(part: type[Part], given: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, checked against the signature, as the constructor takes them.

    Raises:
        ConfigError: naming every option that is unknown, mistyped or out of range, and what there is.
    """
    what = f"{part.kind} {part.name!r}"
    known = defaults(part)
    for name in given:
        if name not in known:
            there = ", ".join(known) or "none"
            raise ConfigError(f"{what} has no option {short(name)!r}{suggestion(short(name), known)} (options: {there})")
    if not given:
        return {}
    check_lengths(what, given)
    try:
        return _adapter(part).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise ConfigError(f"{what}: {explain(error)}") from None


def check_schema(part: type[Part]) -> None:
    """Whether the options of a part are JSON values with defaults and bounds.

    Raises:
        PluginError: saying which is not, and what to write instead.
    """
    try:
        properties = json_schema(part)
    except (NameError, AttributeError, SyntaxError) as error:
        raise PluginError(
            f"an annotation cannot be evaluated ({error}): import what it names, outside TYPE_CHECKING"
        ) from error
    except (PydanticUserError, TypeError, ValueError) as error:
        raise PluginError(f"{_untyped(part)}: {_TYPES}") from error
    for name, default in defaults(part).items():
        if default is inspect.Parameter.empty:
            raise PluginError(f"option {name!r} has no default: give it one, so that it can be left out")
        unbounded = _unbounded(properties[name])
        if unbounded:
            raise PluginError(f"option {name!r} {unbounded}")
        try:
            json.dumps(default, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise PluginError(f"the default of option {name!r} is no JSON value ({error}): {_TYPES}") from error
    try:
        validate(part, defaults(part))
    except ConfigError as error:
        raise PluginError(f"a default breaks its own bounds, change one of them: {error}") from error
    except (TypeError, ValueError) as error:
        raise PluginError(
            f"a bound does not go with the type of its option, change one of them: {short(error, 200)}"
        ) from error


_INTEGER = "Annotated[int, Field(ge=1, le=4096)]"
_TYPES = "options are booleans, numbers, strings, lists of them, or None"


@cache
def _adapter(part: type[Part]) -> TypeAdapter[dict[str, Any]]:
    hints = typing.get_type_hints(part.__init__, include_extras=True)
    missing = [name for name in defaults(part) if name not in hints]
    if missing:
        raise PluginError(f"option {missing[0]!r} has no annotation: write {missing[0]}: {_INTEGER} = <default>")
    fields = {name: hints[name] for name in defaults(part)}
    strict = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
    return TypeAdapter(strict(TypedDict(f"{part.__name__}Options", fields, total=False)))  # type: ignore[operator]


def json_schema(part: type[Part]) -> dict[str, Any]:
    """The JSON schema of each option, with references resolved."""
    if not defaults(part):
        return {}
    schema = _adapter(part).json_schema()
    return {name: _resolved(value, schema.get("$defs", {})) for name, value in schema.get("properties", {}).items()}


def _untyped(part: type[Part]) -> str:
    """Which option is of a type that JSON cannot hold."""
    hints = typing.get_type_hints(part.__init__, include_extras=True)
    for name in defaults(part):
        try:
            TypeAdapter(hints[name]).json_schema()
        except (PydanticUserError, TypeError, ValueError):
            return f"option {name!r} is of a type that options do not have ({short(hints[name])})"
    return "its options are not JSON values"


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _resolved(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: _resolved(value, definitions) for key, value in node.items()}


def _unbounded(node: dict[str, Any]) -> str:
    """Why a value of this schema could be of any size, or nothing."""
    if "anyOf" in node:
        return next(filter(None, map(_unbounded, node["anyOf"])), "")
    if "enum" in node or "const" in node:
        return ""
    match node.get("type"):
        case "boolean" | "null" | "number":
            return ""
        case "integer":
            bounded = bool({"maximum", "exclusiveMaximum"} & node.keys() and {"minimum", "exclusiveMinimum"} & node.keys())
            return "" if bounded else f"is an integer without bounds: write {_INTEGER}"
        case "string":
            bounded = "maxLength" in node
            return "" if bounded else "is a string without a maximum length: write Annotated[str, Field(max_length=64)]"
        case "array":
            if "maxItems" not in node:
                return "is a list without a maximum length: write Annotated[tuple[<type>, ...], Field(max_length=16)]"
            items = [node["items"]] if isinstance(node.get("items"), dict) else []
            return next(filter(None, map(_unbounded, items + node.get("prefixItems", []))), "")
        case other:
            return f"is of a type that options do not have ({other or 'anything'}): {_TYPES}"


def _in_words(node: dict[str, Any]) -> str:
    if "anyOf" in node:
        return " or ".join(map(_in_words, node["anyOf"]))
    if "enum" in node:
        return "one of " + " | ".join(map(str, node["enum"]))
    if "const" in node:
        return repr(node["const"])
    if node.get("type") == "array" and isinstance(node.get("items"), dict):
        return f"list of {_in_words(node['items'])}"
    return {"null": "nothing"}.get(str(node.get("type")), str(node.get("type")))


def _bounds(node: dict[str, Any]) -> str:
    if "anyOf" in node:
        return "; ".join(filter(None, map(_bounds, node["anyOf"])))
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
    said = []
    if low is not None:
        said.append(f"{'above ' if 'exclusiveMinimum' in node else ''}{low:g}" + (" or more" if high is None else ""))
    if high is not None:
        said.append(f"{'below ' if 'exclusiveMaximum' in node else 'to '}{high:g}")
    if node.get("type") == "array":
        said.append(f"{node.get('minItems', 0)} to {node['maxItems']} items")
        said.extend(filter(None, [f"each {inner}" if (inner := _bounds(node.get("items", {}))) else ""]))
    if "maxLength" in node:
        said.append(f"at most {node['maxLength']} characters")
    return ", ".join(said) if node.get("type") == "array" else " ".join(said)


def _documented(part: type[Part]) -> dict[str, str]:
    """What the `Args:` of a class docstring say of each option, in one line."""
    found: dict[str, str] = {}
    name = ""
    inside = False
    for line in inspect.cleandoc(part.__doc__ or "").splitlines():
        if line.startswith("Args:"):
            inside = True
        elif line.strip() and not line.startswith(" "):
            inside = False
        elif inside and line.startswith("    ") and not line.startswith("     ") and ":" in line:
            name, _, text = line.strip().partition(":")
            found[name] = text.strip()
        elif inside and name:
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
