"""What a page may ask, in bounds: whatever else it asks is an error in one sentence."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from vaekit.options import Options
from vaekit_demo.engine.given import Code, Number, Source

Class = Annotated[int, Field(ge=0, lt=10_000)]
Dimension = Annotated[int, Field(ge=0, lt=10_000)]
Axes = Literal["pca"] | Annotated[tuple[Dimension, Dimension], Field(strict=False)] | None
Temperature = Annotated[float, Field(ge=0, le=5)]
MOST_SAMPLES = 144
MOST_FRAMES = 97


def _different(dims: list[int]) -> list[int]:
    if len(set(dims)) != len(dims):
        raise ValueError("each dimension is given once")
    return dims


def whole(value: Any) -> Any:
    """A number as Gradio's clients send it, whole where it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Asked(Options):
    """Of a model."""

    model: Annotated[str, Field(max_length=64)]

    @classmethod
    def _called(cls) -> str:
        return cls.__name__.lower()


class Describe(Asked):
    """What it is."""


class Points(Asked):
    """Where its examples lie on a plane."""

    axes: Axes = None


class Decode(Asked):
    """The picture at a code."""

    z: Code
    y: Class | None = None


class Strips(Decode):
    """A code with some dimensions swept."""

    dims: Annotated[list[Dimension], Field(min_length=1, max_length=64), AfterValidator(_different)]
    steps: Annotated[int, Field(ge=2, le=15)] = 9


class Manifold(Decode):
    """A grid of pictures over a plane through a code."""

    axes: Axes = None
    side: Annotated[int, Field(ge=2, le=25)] = 15


class Look(Asked):
    """What it makes of an example."""

    source: Source
    y: Class | None = None
    seed: Number | None = None


class Interpolate(Asked):
    """The way from one example to another."""

    a: Source
    b: Source
    y: Class | None = None
    frames: Annotated[int, Field(ge=2, le=MOST_FRAMES)] = 49


class Gif(Interpolate):
    """The same as an animation."""


class Arithmetic(Asked):
    """c + amount · (a - b)."""

    a: Source
    b: Source
    c: Source
    y: Class | None = None
    amount: Annotated[float, Field(ge=-5, le=5)] = 1.0


class Samples(Asked):
    """New examples."""

    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = 16
    seed: Number = 0
    temperature: Temperature = 1.0
    y: Class | None = None
    source: Literal["prior", "posterior"] = "prior"
