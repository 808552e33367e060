"""What can go wrong, as one tree.

    PredictError
    ├── InputError    what was asked does not fit the model: a shape, a label, a part that is not there
    ├── DataError     values or pictures that are damaged, not finite, or too large to be read
    └── ModelError    exported files that are missing, or cannot be trusted

A message says what was asked, what there is, and what to do.
"""


class PredictError(Exception):
    """The root of every error that this package raises on purpose."""


class InputError(PredictError):
    """What was asked does not fit the model."""


class DataError(PredictError):
    """Values or pictures that are damaged, not finite, or too large to be read."""


class ModelError(PredictError):
    """Exported files that are missing, or cannot be trusted."""


def short(value: object, most: int = 80) -> str:
    """What a stranger wrote, in one line that a terminal can be trusted with."""
    text = " ".join(str(value)[: 4 * most].split())
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= most else f"{text[: most - 3]}..."
