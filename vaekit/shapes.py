"""How contexts join data: vectors (D,), sequences (T, F) and images (C, H, W)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vaekit.errors import ShapeError

Shape = tuple[int, ...]


def feature_axis(shape: Shape) -> int:
    """The axis of `shape` that counts features: the last of (T, F), the first of (D,) and (C, H, W).

    Raises:
        ShapeError: where `shape` has no axis or more than three.
    """
    if not 1 <= len(shape) <= 3:
        raise ShapeError(f"shapes are (features,), (steps, features) or (channels, height, width), not {shape}")
    return 1 if len(shape) == 2 else 0


def widen(shape: Shape, *, times: int = 1, plus: int = 0) -> Shape:
    """`shape` with its feature axis multiplied by `times`, then lengthened by `plus`."""
    axis = feature_axis(shape)
    return (*shape[:axis], shape[axis] * times + plus, *shape[axis + 1 :])


def mask(x: Float[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
    """Where x holds data: sequences (N, steps, features) of several lengths are filled up at their ends with NaN."""
    return ~x.isnan()


def join(h: Float[Tensor, "n *features"], c: Float[Tensor, "n context"]) -> Float[Tensor, "n *joined"]:
    """Append the context to the features, repeated over time or space.

    Args:
        h: features of shape (N, D), (N, T, F) or (N, C, H, W).
        c: context of shape (N, K); K = 0 leaves `h` as it is.

    Returns:
        `h` with K more features: its shape is `(N, *widen(h.shape[1:], plus=K))`.
    """
    if c.shape[1] == 0:
        return h
    axis = 1 + feature_axis(tuple(h.shape[1:]))
    c = c.reshape(c.shape[0], *(-1 if a == axis else 1 for a in range(1, h.dim())))
    repeated = c.expand(*(c.shape[a] if a in (0, axis) else h.shape[a] for a in range(h.dim())))
    return torch.cat([h, repeated], dim=axis)
