"""zuko's rational-quadratic splines."""

from importlib import import_module
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

_BINS = 8
_SHAPES = (_BINS, _BINS, _BINS - 1)
_SLOPE = 0.05  # the least, and 20 the greatest where bins meet: float32 inverts such splines to a thousandth at the worst
NUMBERS = sum(_SHAPES)
"""How many numbers make one spline: widths and heights of its bins, and slopes where they meet."""


def _zuko_transforms() -> Any:
    """zuko's module of transforms; torch.distributions' validation, which importing it switches off, is put back."""
    validates: bool = Distribution._validate_args
    try:
        return import_module("zuko.transforms")
    finally:
        Distribution.set_default_validate_args(validates)


_TRANSFORMS = _zuko_transforms()


def spline(numbers: Tensor) -> Any:
    """Monotonic maps of [-5, 5] to itself, and of all else to itself as it is, by numbers (…, NUMBERS): the identity for zeros.

    Returns:
        One that has `inv` and `call_and_ladj`, which gives log-slopes too.
    """
    return _TRANSFORMS.MonotonicRQSTransform(*numbers.split(_SHAPES, -1), slope=_SLOPE)
