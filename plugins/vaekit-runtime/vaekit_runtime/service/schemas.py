"""What a JSON body holds, as models that are made for the shapes of one model."""

from math import prod
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from vaekit_runtime.service.limits import Limits
from vaekit_runtime.service.served import Model

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Label = Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=200)]
_Vector = Annotated[list[_Number], Field(fail_fast=True)]


class Failure(BaseModel):
    """An answer that is none."""

    error: str = Field(description="One sentence: what was asked, what there is, what to do.")


class Health(BaseModel):
    """How the service is."""

    status: str = Field(description="`ready`, or `draining` while it stops.")
    model: str = Field(description="What people call the model.")
    versions: dict[str, str] = Field(description="Of the packages that compute it.")


class About(BaseModel):
    """What there is."""

    model: str = Field(description="What people call it.")
    data_shape: list[int] = Field(description="The shape of one example.")
    latent_shape: list[int] = Field(description="The shape of one code.")
    units: str = Field(description="Of the values of an example.")
    conditional: bool = Field(description="Whether it is told a y.")
    classes: list[str] = Field(description="The names of the classes; may be empty.")
    limits: dict[str, float] = Field(description="On one request, on a batch, and on the queue; times in seconds.")
    routes: list[str] = Field(description="Methods and paths.")
    versions: dict[str, str] = Field(description="Of the packages that compute it.")


class Bodies:
    """The schemas of the bodies that one model takes and gives.

    Args:
        model: that is served.
        limits: on what is asked.

    Attributes:
        encode, decode, reconstruct, sample: of requests.
        codes, examples: of answers.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        served, most = model.served, limits.max_examples
        told = _label_fields(served.classes, model.contexts) if served.conditional else {}
        x = (
            _batch(served.data_shape, most),
            Field(description=f"Examples{_in(model.units)}, (N, {_text(served.data_shape)})."),
        )
        z = (_batch(served.latent_shape, most), Field(description=f"Codes, (N, {_text(served.latent_shape)})."))
        self.encode = _model("Encode", {"x": x, **told}, x=served.data_shape)
        self.reconstruct = _model("Reconstruct", {"x": x, **told}, x=served.data_shape)
        self.decode = _model("Decode", {"z": z, **told}, z=served.latent_shape)
        drawing: dict[str, Any] = {
            "n": (Annotated[int, Field(ge=1, le=most)], Field(default=1, description="How many.")),
            "temperature": (
                Annotated[_Number, Field(ge=0, le=100)],
                Field(
                    default=1.0, description="What the prior's standard deviation is multiplied by; only for Gaussian priors."
                ),
            ),
            "seed": (
                Annotated[int, Field(ge=0, lt=2**32)] | None,
                Field(default=None, description="What the draws depend on; they differ each time where there is none."),
            ),
        }
        self.sample = _model("Sample", {**drawing, **told}, n=None)
        self.codes = _model("Codes", {"z": z}, z=served.latent_shape)
        self.examples = _model("Examples", {"x": x}, x=served.data_shape)


def _model(name: str, fields: dict[str, Any], **example: tuple[int, ...] | None) -> type[BaseModel]:
    """A model with an example, in which arrays of the shapes given stand as zeros where that is short enough to read."""
    ((key, shape),) = example.items()
    value: Any = 4 if shape is None else [_zeros(shape)]
    shown = {key: value, **({"y": 0} if "y" in fields else {})}
    extra: dict[str, Any] = {} if shape is not None and prod(shape) > _MOST_SHOWN else {"examples": [shown]}
    return create_model(name, __config__=ConfigDict(**_STRICT, json_schema_extra=extra), **fields)


_MOST_SHOWN = 4096


def _zeros(shape: tuple[int, ...]) -> Any:
    return 0.0 if not shape else [_zeros(shape[1:])] * shape[0]


def _batch(shape: tuple[int, ...], most: int) -> Any:
    """Nested lists of N examples, 1 to `most`; what is wrong is said once, of the first that is."""
    inner: Any = _Number
    for size in reversed(shape):
        inner = Annotated[list[inner], Field(min_length=size, max_length=size, fail_fast=True)]
    return Annotated[list[inner], Field(min_length=1, max_length=most, fail_fast=True)]


def _label_fields(classes: tuple[str, ...], contexts: bool) -> dict[str, Any]:
    there = f"; there are {', '.join(classes[:20])}{', …' if len(classes) > 20 else ''}" if classes else ""
    kinds: Any = _Label | Annotated[list[_Label], Field(fail_fast=True)] | None
    said = f"A class number or name, one for all or one each{there}."
    if contexts:
        kinds |= Annotated[list[_Vector], Field(fail_fast=True)]
        said += " Or the contexts themselves, (N, width)."
    return {"y": (kinds, Field(default=None, description=said))}


def _text(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _in(units: str) -> str:
    return f" ({units})" if units else ""
