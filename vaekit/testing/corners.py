"""The corners of what a part's options may be: every choice, the least of every size and its most."""

import math
from collections.abc import Iterator
from typing import Any

from vaekit.parts import Part
from vaekit.schema import json_schema


def corners(part: type[Part]) -> Iterator[tuple[str, Any, bool]]:
    """Each option at each of its corners: its name, the value, and whether that is its largest size."""
    for name, node in json_schema(part).items():
        small, large = _small(node), _large(node)
        yield from ((name, value, False) for value in small)
        yield from ((name, value, True) for value in large if value not in small)


def _small(node: dict[str, Any]) -> list[Any]:
    """Every choice of a schema, or the least values that it takes."""
    match node:
        case {"anyOf": several}:
            return [value for inner in several for value in _small(inner)]
        case {"enum": choices}:
            return list(choices)
        case {"const": only}:
            return [only]
        case {"type": "boolean"}:
            return [False, True]
        case {"type": "null"}:
            return [None]
        case {"minimum": least}:
            return [least]
        case {"type": "integer", "exclusiveMinimum": below}:
            return [below + 1]
        case {"type": "number", "exclusiveMinimum": below}:
            return [math.nextafter(below, math.inf) if below else 1e-6]
        case {"type": "array", "prefixItems": items}:
            return [values] if (values := [value for item in items for value in _small(item)[:1]]) else []
        case {"type": "array", "items": item}:
            return [_small(item)[:1] * length for length in sorted({node.get("minItems", 0), max(1, node.get("minItems", 0))})]
    return []


def _large(node: dict[str, Any]) -> list[Any]:
    """The largest values that a schema takes."""
    match node:
        case {"anyOf": several}:
            return [value for inner in several for value in _large(inner)]
        case {"maximum": most}:
            return [most]
        case {"type": "integer", "exclusiveMaximum": above}:
            return [above - 1]
        case {"type": "number", "exclusiveMaximum": above}:
            return [math.nextafter(above, -math.inf)]
        case {"type": "array", "prefixItems": items}:
            return [values] if (values := [value for item in items for value in _largest(item)]) else []
        case {"type": "array", "items": item, "maxItems": longest}:
            return [_largest(item) * longest]
    return []


def _largest(node: dict[str, Any]) -> list[Any]:
    """One value of a schema, the largest where values have a size."""
    return (_large(node) or _small(node))[:1]
