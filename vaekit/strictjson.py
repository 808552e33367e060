"""JSON from strangers: parsed strictly, within bounds, into plain values."""

import json
import math
from typing import Any

from vaekit.errors import short

MOST_BYTES = 1_000_000
DEEPEST = 32
MOST_VALUES = 100_000


def loads(text: str | bytes, *, most_bytes: int = MOST_BYTES) -> Any:
    """Parse JSON, refusing what Python's parser lets through.

    Args:
        text: the document; bytes must be UTF-8 without a byte-order mark.
        most_bytes: the largest size.

    Raises:
        ValueError: for anything that is not plain JSON: duplicate keys, NaN, numbers out of range, lone surrogates, more
            than 32 levels of nesting, more than 100,000 lists and objects, too large a document.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > most_bytes:
        raise ValueError(f"{size:,} bytes of JSON, more than the {most_bytes:,} allowed")
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if text.startswith("\ufeff"):
        raise ValueError("a byte-order mark")
    opened = text.count("[") + text.count("{")
    if opened > MOST_VALUES:
        raise ValueError(f"{opened:,} lists and objects, more than the {MOST_VALUES:,} allowed")
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
