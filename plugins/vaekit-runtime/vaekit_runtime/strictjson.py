"""JSON from strangers: parsed strictly, within bounds."""

import json
import math
from typing import Any

from vaekit_runtime.errors import short

MOST_BYTES = 2**24
DEEPEST = 32


def loads(data: bytes) -> Any:
    """Parse JSON, refusing what Python's parser lets through.

    Raises:
        ValueError: for anything that is not plain JSON of bounded size: duplicate keys, NaN, numbers out of range, lone
            surrogates, deep nesting, more than 16 MB.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data):,} bytes, more than the {MOST_BYTES:,} allowed")
    text = data.decode("utf-8")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(value, 0)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise ValueError(f"the key {short(key)!r} stands twice")
        unique[key] = value
    return unique


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{short(digits)} is out of range")
    return number


def _check(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        value.encode("utf-8")  # refuses lone surrogates
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode("utf-8")
            _check(item, depth + 1)
