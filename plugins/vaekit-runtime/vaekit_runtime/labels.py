"""What people give as y, as the c that a model takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.arrays import Array, batch
from vaekit_runtime.errors import InputError
from vaekit_runtime.metadata import Metadata


class Labels:
    """The classes that a model is told, or the c.

    Args:
        metadata: of the model.
    """

    def __init__(self, metadata: Metadata) -> None:
        self.context = metadata.context
        rows = self.context.rows if self.context else None
        self._rows = None if rows is None or rows == "one-hot" else np.array(rows, np.float32)
        self.count = self.context.count if self.context else None
        self.classes = self.context.classes if self.context and self.context.classes else metadata.data.classes

    def context_of(self, y: Any, n: int) -> Array | None:
        """c (n, width) of n examples; None where the model takes none.

        Args:
            y: a class number or name, one for all or one each; or c, floats (n, width) or (1, width).
            n: how many examples there are.

        Raises:
            InputError: where y is missing, unknown, of the wrong length, or given to a model that takes none.
        """
        if self.context is None:
            if y is not None:
                raise InputError("this model is not conditional: it takes no y")
            return None
        if is_context(y) or self.count is None:
            return self._given(y, n)
        numbers = self.numbers(y, n)
        if self._rows is not None:
            return np.ascontiguousarray(self._rows[numbers])
        return np.asarray(numbers[:, None] == np.arange(self.count), np.float32)

    def numbers(self, y: Any, n: int) -> NDArray[np.int64]:
        """The class numbers (n,) of y."""
        if y is None:
            raise InputError(self._wanted("none was given"))
        given = np.asarray(y).tolist() if hasattr(y, "__array__") else y
        given = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        numbers = [self._number(label) for label in given]
        if len(numbers) not in (1, n):
            raise InputError(f"{len(numbers)} labels for {n} examples: give one for all, or one each")
        return np.array(numbers * (n if len(numbers) == 1 else 1), np.int64)

    def drawn(self, n: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Class numbers (n,), all classes as probable."""
        if self.count is None:
            raise InputError(self._wanted("none was given"))
        return random.integers(self.count, size=n)

    def _given(self, y: Any, n: int) -> Array:
        assert self.context is not None
        if y is None or isinstance(y, str):
            raise InputError(self._wanted("none was given" if y is None else f"there is no {repr(y)[:80]}"))
        c = batch(y, (self.context.width,), "c")
        if len(c) not in (1, n):
            raise InputError(f"c of {len(c)} examples for {n}: give one for all, or one each")
        return np.ascontiguousarray(np.broadcast_to(c, (n, self.context.width)))

    def _number(self, label: Any) -> int:
        assert self.count is not None
        if isinstance(label, np.generic):
            label = label.item()
        if isinstance(label, str):
            if label in self.classes:
                label = self.classes.index(label)
            elif label.isdecimal() and len(label) < 10:
                label = int(label)
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < self.count:
            return label
        raise InputError(self._wanted(f"there is no {repr(label)[:80]}"))

    def _wanted(self, wrong: str) -> str:
        assert self.context is not None
        if self.count is None:
            return f"this model is conditional on {self.context.name}: {wrong}; give c, floats (N, {self.context.width})"
        names, count = self.classes, self.count
        named = f" ({', '.join(names[:12])}{', …' if count > 12 else ''})" if len(names) == count else ""
        return (
            f"this model is conditional on one of {count} classes{named}: {wrong}; give y as a number below {count} or a name"
        )


def is_context(y: Any) -> bool:
    """Whether y is c itself, floats (N, width)."""
    return hasattr(y, "__array__") and np.ndim(y) == 2 and np.asarray(y).dtype.kind == "f"
