"""Where in an image its ink lies: found in examples, and given to what people draw, so that the model sees what it knows."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """How the images of a data set are framed, as shares of their sides.

    Args:
        ground: the grey of the background, 0 for black or 1 for white; ink is how far a pixel is from it.
        reach: the longer side of the box that holds the ink.
        centre: the point, down and across, that a drawing is centred on; None where the ink of the examples has no such point.
        by_mass: whether that is where the centre of mass of the ink is, rather than the middle of the box.
    """

    ground: float
    reach: float
    centre: tuple[float, float] | None
    by_mass: bool

    @classmethod
    def of(cls, x: Tensor) -> "Frame":
        """As examples (N, 1, H, W) have it.

        Examples are centred where either point varies little among them: MNIST's have their mass in the middle, others their
        box. Photographs, whose ink is everywhere, have a reach of one.
        """
        x = x[:_MOST, 0].float()
        border = torch.cat([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]], 1)
        ground = 1.0 if float(border.median()) > 0.5 else 0.0
        ink = (x - ground).abs().clamp(0, 1)
        boxes = [_box(image) for image in ink]
        found = torch.tensor([box for box in boxes if box is not None], dtype=torch.float32)
        if not len(found):
            return cls(ground, 1.0, None, False)
        size = torch.tensor(x.shape[1:], dtype=torch.float32)
        inked = ink[torch.tensor([box is not None for box in boxes])]
        middles = (found[:, :2] + found[:, 2:]) / 2 / size
        masses = _mass(inked) / size
        reach = float(((found[:, 2:] - found[:, :2]) / size).amax(1).median())
        by_mass = bool(masses.std(0).mean() < middles.std(0).mean()) if len(found) > 1 else False
        points = masses if by_mass else middles
        steady = len(found) > 1 and float(points.std(0).max()) < _STEADY
        down, across = points.median(0).values.tolist()
        return cls(ground, reach, (down, across) if steady else None, by_mass)

    def fit(self, ink: Tensor, height: int, width: int) -> Tensor | None:
        """A drawing (H, W) of ink from 0 to 1 as an image (height, width) framed as the examples are; None where there is none.

        Where examples are not centred, the drawing stays where it is and as large as it is.
        """
        box = _box(ink)
        if box is None:
            return None
        if self.centre is None:
            placed = _scaled(ink, height, width)
        else:
            top, left, bottom, right = box
            cut = ink[top:bottom, left:right]
            scale = self.reach * min(height, width) / max(cut.shape)
            small = _scaled(cut, max(1, round(cut.shape[0] * scale)), max(1, round(cut.shape[1] * scale)))
            placed = self._centred(small / small.max().clamp_min(1e-6), height, width)
        return placed if self.ground == 0 else 1 - placed

    def _centred(self, small: Tensor, height: int, width: int) -> Tensor:
        assert self.centre is not None
        own = _mass(small[None])[0] if self.by_mass else torch.tensor(small.shape, dtype=torch.float32) / 2
        wanted = torch.tensor([self.centre[0] * height, self.centre[1] * width])
        room = torch.tensor([height, width]) - torch.tensor(small.shape)
        down, across = torch.minimum((wanted - own).round().clamp_min(0), room).clamp_min(0).int().tolist()  # all of it inside
        canvas = torch.zeros(height, width)
        canvas[down : down + small.shape[0], across : across + small.shape[1]] = small[:height, :width]
        return canvas


_MOST = 1000
_INK = 0.1  # below which a pixel is background
_STEADY = 0.06  # of a side, that a centre varies by at most


def _box(ink: Tensor) -> tuple[int, int, int, int] | None:
    """Top, left, bottom and right of what is inked in an image (H, W)."""
    inked = ink > _INK
    rows, columns = inked.any(1).nonzero()[:, 0], inked.any(0).nonzero()[:, 0]
    if not len(rows):
        return None
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _mass(ink: Tensor) -> Tensor:
    """The centre of mass, down and across, of images (N, H, W) in pixels from their corners."""
    total = ink.sum((1, 2)).clamp_min(1e-9)
    down = (ink.sum(2) * (torch.arange(ink.shape[1]) + 0.5)).sum(1) / total
    across = (ink.sum(1) * (torch.arange(ink.shape[2]) + 0.5)).sum(1) / total
    return torch.stack([down, across], 1)


def _scaled(ink: Tensor, height: int, width: int) -> Tensor:
    scaled = F.interpolate(ink[None, None].float(), (height, width), mode="bilinear", antialias=True, align_corners=False)
    return scaled[0, 0].clamp(0, 1)
