"""Arrays that people give, of whatever library, type and layout, as tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import DataError


def as_tensor(given: Any, source: str) -> Tensor:
    """An array, a tensor or nested lists of numbers as a tensor on the CPU; memory is shared where it can be.

    Raises:
        DataError: where they are no numbers.
    """
    if isinstance(given, list | tuple) and given and isinstance(given[0], Tensor):
        given = _stacked(given, source)
    if isinstance(given, Tensor):
        return given.detach().cpu()
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{source} is no array of numbers: {error}") from None
    if array.dtype.kind not in "buif":
        raise DataError(f"{source} is no array of numbers, but of {array.dtype}")
    native = np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")
    # torch takes no other byte order, no negative strides, and warns of memory that cannot be written to
    return torch.from_numpy(np.require(array, native, ["C", "W"]))


def as_examples(x: Tensor, source: str) -> Tensor:
    """Numbers (N, …) as they are stored, (N, *shape): uint8 or float32, images as (C, H, W), booleans as 0 and 255.

    Raises:
        DataError: for numbers of another type or shape.
    """
    if x.dtype == torch.bool:
        x = x.to(torch.uint8) * 255
    elif x.is_floating_point():
        x = x.float()
    elif x.dtype != torch.uint8:
        raise DataError(f"{source} is of {x.dtype}: give images as bytes (0 to 255), and counts as floats")
    if not 2 <= x.dim() <= 4 or 0 in x.shape[1:]:
        wanted = "(N, features), (N, steps, features) or (N, channels, height, width)"
        raise DataError(f"{source} has shape {tuple(x.shape)}: give {wanted}")
    if x.dtype == torch.uint8 and x.dim() == 3:
        x = x[:, None]
    elif x.dim() == 4 and x.shape[3] in _CHANNELS and x.shape[1] not in _CHANNELS and x.shape[2] > max(_CHANNELS):
        x = x.permute(0, 3, 1, 2)
    return x.contiguous()


_CHANNELS = (1, 3, 4)


def class_numbers(y: Any, n: int, source: str) -> Tensor:
    """Labels (n,) or (n, 1) as class numbers (n,).

    Raises:
        DataError: where they are not integers from 0, one each.
    """
    labels = as_tensor(y, f"what is given as labels of {source}")
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 1 or len(labels) != n:
        raise DataError(f"{source} has {n} examples and labels of shape {tuple(labels.shape)}: give one class number each")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DataError(f"the labels of {source} are of {labels.dtype}: give class numbers from 0")
    labels = labels.long()
    if n and int(labels.min()) < 0:
        index = int((labels < 0).nonzero()[0])
        raise DataError(f"label {index} of {source} is {int(labels[index])}: give class numbers from 0")
    return labels


def _stacked(tensors: list[Tensor] | tuple[Tensor, ...], source: str) -> Tensor:
    try:
        return torch.stack(tuple(tensors))
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{source} cannot be stacked: {error}") from None
