"""What people give as an image, as a model sees images: drawings, files, and test examples."""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from vaekit import ConfigError, DataError, inputs
from vaekit.options import Options
from vaekit_demo.engine.answers import Input, example, look, mean_code, random_example
from vaekit_demo.engine.shown import Shown

MOST_BYTES = 4 * 2**20
"""Of a file that is uploaded."""
MOST_SIDE = 8192
MOST_PIXELS = 2**24
PAD = 512
"""The most pixels that a side of a drawing has."""

Number = Annotated[int, Field(ge=0, lt=2**32)]
Value = Annotated[float, Field(ge=-1e6, le=1e6)]
Code = Annotated[list[Value], Field(min_length=1, max_length=10_000)]


class Drawing(Options):
    """Pixels of a pad.

    Args:
        w: pixels a row.
        h: rows.
        c: bytes a pixel, grey or red, green and blue.
        data: the bytes in base64, row by row.
    """

    w: Annotated[int, Field(ge=1, le=PAD)]
    h: Annotated[int, Field(ge=1, le=PAD)]
    c: Annotated[int, Field(ge=1, le=3)]
    data: Annotated[str, Field(max_length=PAD * PAD * 4)]

    def pixels(self) -> Tensor:
        """(c, h, w), from 0 to 1."""
        raw = decoded(self.data, PAD * PAD * 3)
        if len(raw) != self.w * self.h * self.c:
            raise DataError(f"A drawing of {self.w}x{self.h} with {self.c} bytes a pixel has not {len(raw):,} bytes.")
        pixels = np.frombuffer(raw, np.uint8).reshape(self.h, self.w, self.c)
        return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)


class Source(Options):
    """Where an example comes from: one of these.

    Args:
        test: the number of a test example.
        random: a seed that draws one.
        of_class: the class that it is to be of.
        drawing: of a pad.
        file: an image file, its bytes in base64.
        code: a code itself, of no example.
        mean: the class whose mean code is meant.
    """

    test: Number | None = None
    random: Number | None = None
    of_class: Number | None = None
    drawing: Drawing | None = None
    file: Annotated[str, Field(max_length=MOST_BYTES * 4 // 3 + 4)] | None = None
    code: Code | None = None
    mean: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        there = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(there) != 1:
            raise ConfigError(f"An example comes from one of {', '.join(_SOURCES)}; {len(there)} were given.")
        return self

    def input(self, shown: Shown) -> Input:
        """The example as a model sees it."""
        if self.test is not None:
            return example(shown, self.test)
        if self.random is not None:
            return example(shown, random_example(shown, self.random, self.of_class))
        if self.drawing is not None:
            return drawn(shown, self.drawing.pixels())
        if self.file is not None:
            return uploaded(shown, decoded(self.file, MOST_BYTES))
        raise ConfigError("A code is no example: give a drawing, a file or a test example.")

    def end(self, shown: Shown, y: int | None) -> "End":
        """Its code, with the class that a conditional model is told: the example's own, or `y` where it has none."""
        if self.code is not None or self.mean is not None:
            z = torch.tensor(self.code) if self.code is not None else mean_code(shown, self.mean or 0)
            return End(shown.at(z[None]).flatten(), y if shown.model.conditional else None)
        given = self.input(shown)
        found = look(shown, given, y if given.y is None else None)
        return End(found.code, found.y, given)


@dataclass(frozen=True)
class End:
    """A place in the latent space that an example gave.

    Args:
        z: the code, (D,).
        y: the class of a conditional model.
        given: the example; None for a code, and a mean of codes.
    """

    z: Tensor
    y: int | None
    given: Input | None = None


_SOURCES = ("test", "random", "drawing", "file", "code", "mean")


def decoded(text: str, most: int) -> bytes:
    """The bytes of base64.

    Raises:
        DataError: where it is none, or too much.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("The data are not base64.") from None
    if len(raw) > most:
        raise DataError(f"{len(raw):,} bytes are more than the {most:,} allowed: make the image smaller.")
    return raw


def drawable(shown: Shown) -> str:
    """Why a model's data cannot be drawn or uploaded; empty where they can."""
    if shown.kind == "image" and shown.shape[0] in (1, 3):
        return ""
    spoken = {"sequence": "Sequences are", "numbers": "Rows of numbers are"}.get(
        shown.kind, f"Images of {shown.shape[0]} channels are"
    )
    return f"{spoken} not drawn: take a test example."


def drawn(shown: Shown, pixels: Tensor) -> Input:
    """A drawing (c, h, w) as a model sees it: framed as its data are, and black and white where those are.

    Raises:
        DataError: where nothing was drawn, or the model's data are not drawn.
    """
    if drawable(shown):
        raise DataError(drawable(shown))
    _, height, width = shown.shape
    frame = shown.survey.frame
    if frame is None:
        image = pixels.expand(3, -1, -1) if len(pixels) == 1 else pixels
        whole = F.interpolate(image[None], (height, width), mode="bilinear", antialias=True, align_corners=False)
        return Input(_binary(shown, whole.clamp(0, 1)))
    placed = frame.fit((pixels.mean(0) - frame.ground).abs(), height, width)
    if placed is None:
        raise DataError("Nothing is drawn yet.")
    return Input(_binary(shown, placed[None, None]))


def uploaded(shown: Shown, data: bytes) -> Input:
    """An image file as a model sees images.

    Where its data have their ink in the middle, so has this: what is unlike the border is ink, and dark on bright is turned
    around where the data are bright on dark. An image of the very size of the data is left as it is.

    Raises:
        DataError: saying what is wrong with the file.
    """
    if drawable(shown):
        raise DataError(drawable(shown))
    image, notes = inputs.picture(data, most_bytes=MOST_BYTES, most_pixels=MOST_PIXELS, most_side=MOST_SIDE)
    frame = shown.survey.frame
    _, height, width = shown.shape
    if frame is None or frame.centre is None or image.size == (width, height):
        return Input(inputs.image(image, shown.model), notes=tuple(notes))
    image.thumbnail((PAD, PAD))
    grey = torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float32) / 255)
    border = float(torch.cat([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).median())
    away = (grey - border).abs()
    peak = float(torch.quantile(away.flatten(), 0.995))
    if peak < _FAINT:
        raise DataError("The image is of one colour: there is nothing on it to see.")
    ink = (away / peak).clamp(0, 1)
    placed = frame.fit(torch.where(ink < _NOISE, 0.0, ink), height, width)
    if placed is None:
        raise DataError("The image is of one colour: there is nothing on it to see.")
    turned = abs(border - frame.ground) > 0.5
    said = f"Its background was made {'white' if frame.ground else 'black'}, as the model's data have it."
    notes = [*notes, *([said] if turned else []), "It was centred and scaled as the model's data are."]
    return Input(_binary(shown, placed[None, None]), notes=tuple(notes))


_FAINT, _NOISE = 0.08, 0.2


def _binary(shown: Shown, x: Tensor) -> Tensor:
    return (x >= 0.5).to(x.dtype) if shown.binary else x
