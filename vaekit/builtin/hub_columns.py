"""Which column of a data set of the Hub holds the examples, and which their labels."""

from dataclasses import dataclass
from typing import Any

from vaekit import DataError

_LABELS = ("label", "labels", "y", "cls")  # the last in WebDataset
_NUMBERS = ("uint8", "bool", "float16", "float32", "float64")


@dataclass(frozen=True)
class Columns:
    """Columns by what they are for.

    Args:
        x: the examples.
        label: class numbers; empty where there are none.
        classes: names of the classes, where they have some.
        numbers: of what type the examples are as arrays; empty where they are images.
    """

    x: str
    label: str
    classes: tuple[str, ...]
    numbers: str

    def of(self, stream: Any) -> Any:
        """A stream of these columns alone, its images as files that nobody has decoded."""
        chosen = stream.decode(False) if stream.features else stream
        chosen = chosen.select_columns([name for name in (self.x, self.label) if name])
        return chosen.with_format("numpy") if self.numbers else chosen


def columns(stream: Any, source: str) -> Columns:
    """The columns of a stream that are wanted.

    Raises:
        DataError: listing the columns, where none or several could be the examples.
    """
    import datasets

    features = stream.features or datasets.Dataset.from_list(list(stream.take(8))).features
    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    arrays = [name for name, feature in features.items() if _numbers(feature)]
    found = images or arrays
    if len(found) != 1:
        there = ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
        several = f"{', '.join(found)} could each be the examples" if found else "none holds examples"
        wanted = "one column of images, or else one of arrays of uint8 or float32, is wanted, and a ClassLabel for labels"
        raise DataError(f"{source} has columns {there}: {several}; {wanted}")
    label = _label(features, datasets.ClassLabel)
    classes = tuple(features[label].names) if label and isinstance(features[label], datasets.ClassLabel) else ()
    return Columns(found[0], label, classes, "" if images else _numbers(features[found[0]]))


def _label(features: Any, class_label: type) -> str:
    named = [name for name in features if name.lower() in _LABELS]
    classed = [name for name, feature in features.items() if isinstance(feature, class_label)]
    for candidates in (
        [name for name in named if name in classed],
        classed,
        [name for name in named if "int" in str(getattr(features[name], "dtype", ""))],
    ):
        if len(candidates) == 1:
            return str(candidates[0])
    return ""


def _numbers(feature: Any) -> str:
    """The type of the numbers in an array; empty for what is none."""
    kind, inner, depth = type(feature).__name__, feature, 0
    while type(inner).__name__ in ("List", "LargeList", "Sequence") or isinstance(inner, list):
        inner, depth = inner[0] if isinstance(inner, list) else inner.feature, depth + 1
    is_array = (kind.startswith("Array") and kind.endswith("D")) or (depth > 0 and type(inner).__name__ == "Value")
    return str(inner.dtype) if is_array and inner.dtype in _NUMBERS else ""


def _kind(feature: Any) -> str:
    kind = type(feature).__name__
    return str(feature.dtype) if kind == "Value" else kind
