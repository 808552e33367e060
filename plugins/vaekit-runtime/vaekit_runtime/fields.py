"""The fields of a JSON object from strangers, each checked as it is read."""

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

from vaekit_runtime.errors import short

Shape = tuple[int, ...]
Range = tuple[float | None, float | None]
Rows = tuple[tuple[float, ...], ...] | Literal["one-hot"]

_LONGEST, _LARGEST = 65_536, 2**28  # of one axis, and of one example


class Fields:
    """An object, and what to call it in errors.

    Args:
        value: as it was parsed.
        name: of it, such as `data`; "" for the whole document.

    Raises:
        ValueError: here and in every method, where a field is missing or is not what it must be.
    """

    def __init__(self, value: Any, name: str = "") -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{name or 'it'} must be an object, and is {_said(value)}")
        self.value: dict[str, Any] = value
        self.name = name

    def any(self, key: str) -> Any:
        """A field that has to be there."""
        if key not in self.value:
            raise ValueError(f"{self._named(key)} is missing")
        return self.value[key]

    def inner(self, key: str) -> "Fields":
        """An object."""
        return Fields(self.any(key), self._named(key))

    def inners(self, key: str, most: int) -> list["Fields"]:
        """A list of objects."""
        return [Fields(item, f"{self._named(key)}[{i}]") for i, item in enumerate(self._list(key, most))]

    def text(self, key: str, most: int = 200) -> str:
        """Text that can be printed."""
        return self._text(key, self.any(key), most)

    def choice(self, key: str, *allowed: str) -> str:
        """One of these words."""
        value = self.any(key)
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(key, f"one of {', '.join(allowed)}", value)
        return value

    def texts(self, key: str, most: int = 10_000) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._text(key, item, 200) for item in self._list(key, most))

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.any(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.any(key)
        if not _is_whole(value) or not least <= value <= most:
            raise self._wrong(key, f"a whole number from {least} to {most:,}", value)
        return int(value)

    def number(self, key: str) -> float:
        """A number of 0 or more."""
        value = self.any(key)
        if not _is_number(value) or value < 0:
            raise self._wrong(key, "a number of 0 or more", value)
        return float(value)

    def shape(self, key: str, before: Sequence[str] = ()) -> Shape:
        """Lengths of axes, at most five, after the given names of others."""
        value = self.any(key)
        axes = value[len(before) :] if isinstance(value, list) and value[: len(before)] == list(before) else None
        fits = axes is not None and 1 <= len(axes) <= 5 and all(_is_whole(n) and 1 <= n <= _LONGEST for n in axes)
        if axes is None or not fits or prod(axes) > _LARGEST:
            wanted = "".join(f"{name!r} and " for name in before)
            raise self._wrong(key, f"{wanted}the lengths of its axes", value)
        return tuple(axes)

    def range(self, key: str) -> Range | None:
        """Least and greatest value, null where there is none; null where there are neither."""
        value = self.any(key)
        if value is None:
            return None
        ends = value if isinstance(value, list) and len(value) == 2 else [value]
        known = [end for end in ends if end is not None]
        if len(ends) != 2 or not all(map(_is_number, known)) or (len(known) == 2 and not known[0] < known[1]):
            raise self._wrong(key, "the least and the greatest value, or null", value)
        return _float(ends[0]), _float(ends[1])

    def rows(self, key: str, width: int) -> Rows | None:
        """A list of lists of so many numbers, the word `one-hot` for those of the unit matrix, or null."""
        value = self.any(key)
        if value is None:
            return None
        if value == "one-hot":
            return "one-hot"
        rows = self._list(key, 10_000)
        for row in rows:
            if not isinstance(row, list) or len(row) != width or not all(map(_is_number, row)):
                raise self._wrong(key, f"rows of {width} numbers", row)
        return tuple(tuple(map(float, row)) for row in rows)

    def _list(self, key: str, most: int) -> list[Any]:
        value = self.any(key)
        if not isinstance(value, list) or len(value) > most:
            raise self._wrong(key, f"a list of at most {most:,}", value)
        return value

    def _text(self, key: str, value: Any, most: int) -> str:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise self._wrong(key, f"text of at most {most} characters that can be printed", value)
        return value

    def _named(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _wrong(self, key: str, wanted: str, value: Any) -> ValueError:
        return ValueError(f"{self._named(key)} must be {wanted}, and is {_said(value)}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 3.4e38


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _said(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}: {short(value, 40)}"
    return short(repr(value), 40)
