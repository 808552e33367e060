"""Arrays from people, checked."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit_runtime.errors import DataError, InputError, short
from vaekit_runtime.fields import Shape

Array = NDArray[np.float32]


def batch(value: Any, shape: Shape, name: str, *, padded: bool = False) -> Array:
    """Numbers of a batch, float32 (N, *shape) with N of 1 or more.

    Args:
        value: from people: an array, nested lists, a tensor.
        shape: of one example.
        name: of it in errors.
        padded: whether NaN may stand in it.

    Raises:
        InputError: where it is of another shape or type.
        DataError: where it holds values that are not finite.
    """
    array = floats(value, name)
    if not array.size or array.shape[1:] != shape:
        raise InputError(f"{name} has shape {array.shape}; this model takes (N, {', '.join(map(str, shape))})")
    if not np.isfinite(array).all() and (not padded or np.isinf(array).any()):
        raise DataError(f"{name} holds values that are not finite")
    return array


def floats(value: Any, name: str) -> Array:
    """Numbers of any shape as float32.

    Raises:
        InputError: for what is not made of numbers, and for bytes.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # the last from tensors that want gradients
        raise InputError(f"{name} is no array of numbers: {short(error)}") from None
    if array.dtype == np.uint8:
        raise InputError(f"{name} is of bytes; a model takes floats in [0, 1]: give {name} / 255")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} is of {array.dtype}; a model takes floats")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        return np.asarray(array, np.float32, order="C")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python's or numpy's types."""
    return isinstance(value, Integral) and not isinstance(value, bool)
