"""A model as data: which parts with which options, for data of which shape."""

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, field_validator, model_validator

from vaekit import strictjson
from vaekit.errors import ConfigError, short
from vaekit.files import likeness
from vaekit.options import Options

FORMAT = 1
DEFAULTS = {
    "context": "none",
    "encoder": "mlp",
    "latent": "gaussian",
    "prior": "normal",
    "decoder": "mlp",
    "likelihood": "bernoulli",
    "loss": "elbo",
}
"""The textbook model: the part of each kind where none is named."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text that cannot be printed")
    return text


_NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
Name = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=64)]
Text = Annotated[str, Field(max_length=64), AfterValidator(_printable)]
Side = Annotated[int, Field(ge=1, le=65536)]
Package = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=64)]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.!+_-]*[A-Za-z0-9])?$", max_length=64)]
Spec = dict[str, JsonValue]
_FROM_JSON = "from JSON"


class DataInfo(Options):
    """What the model saw, in bounded words: never a path or an address.

    Args:
        name: of the data set, such as `mnist`, or `folder`.
        classes: the names of the classes, in order; empty without labels.
        examples: the size of the training set.
        binarize: how images were made binary.
        seed: what a binarisation drew from.
        resize: height and width that images were brought to.
        crop: the side of the square cut from the middle before that.
        grey: whether colours were dropped.
        bytes: whether the data were bytes divided by 255.
    """

    name: Name
    classes: Annotated[tuple[Text, ...], Field(max_length=10_000, strict=False)] = ()
    examples: Annotated[int, Field(ge=1, le=10**12)]
    binarize: Literal["none", "threshold", "fixed", "dynamic"] = "none"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    resize: Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    crop: Side | None = None
    grey: bool = False
    bytes: bool = False

    @classmethod
    def _called(cls) -> str:
        return "config: data"


class Config(Options):
    """Everything that rebuilds a model but its weights.

    Each part is a name, or a mapping with its options (`{"name": "gaussian", "features": 2}`); a mapping without a name is of
    the textbook part of its kind. Options are checked against the parts by `vaekit.build`, which also fills in the defaults.

    Args:
        vaekit: the version of this format.
        data_shape: (features,), (steps, features) or (channels, height, width).
        dtype: of the weights.
        data: what the model saw.
        plugins: which packages the parts came from, and their versions: provenance, never acted on.
    """

    vaekit: Literal[1] = 1
    data_shape: Annotated[tuple[Side, ...], Field(min_length=1, max_length=3, strict=False)]
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    context: Spec = {"name": DEFAULTS["context"]}
    encoder: Spec = {"name": DEFAULTS["encoder"]}
    latent: Spec = {"name": DEFAULTS["latent"]}
    prior: Spec = {"name": DEFAULTS["prior"]}
    decoder: Spec = {"name": DEFAULTS["decoder"]}
    likelihood: Spec = {"name": DEFAULTS["likelihood"]}
    loss: Spec = {"name": DEFAULTS["loss"]}
    data: DataInfo | None = None
    plugins: Annotated[dict[Package, Version], Field(max_length=100)] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any, info: ValidationInfo) -> Any:
        """Parts by name alone are welcome; those of a file are checked already."""
        if info.context == _FROM_JSON:
            return given
        return {key: as_spec(key, value) if key in DEFAULTS else value for key, value in dict(given).items()}

    @field_validator(*DEFAULTS)
    @classmethod
    def _named(cls, spec: Spec) -> Spec:
        name = spec.get("name")
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(f"a part's name is lower-case letters and digits with hyphens, not {short(repr(name))}")
        return spec

    @field_validator("data_shape")
    @classmethod
    def _fits_in_memory(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if prod(shape) > 2**28:
            raise ValueError(f"data of shape {shape} are more than {2**28:,} numbers an example")
        return shape

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse what `to_json` wrote, or what a stranger did.

        Raises:
            ConfigError: saying what is wrong with it.
        """
        try:
            value = strictjson.loads(text)
        except ValueError as error:
            raise ConfigError(f"config: not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise ConfigError(f"config: a JSON object is wanted, not {type(value).__name__}")
        version = value.get("vaekit")
        if not isinstance(version, int) or isinstance(version, bool):
            raise ConfigError(f"config: no vaekit format version: this is not a model that vaekit saved{likeness((), value)}")
        if version > FORMAT:
            raise ConfigError(
                f"config: format {short(version)} is newer than this vaekit reads ({FORMAT}): pip install --upgrade vaekit"
            )
        absent = [name for name in ("data_shape", *DEFAULTS) if name not in value]
        if absent:
            raise ConfigError(f"config: {absent[0]!r} is missing")
        for kind in DEFAULTS:
            if not isinstance(value[kind], dict) or "name" not in value[kind]:
                raise ConfigError(f"config: {kind} must be an object with a name")
        return cls.model_validate(value, context=_FROM_JSON)

    def to_json(self) -> str:
        """The config as JSON, every option on its line."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    def part(self, kind: str) -> Spec:
        """The spec of the part of that kind."""
        spec: Spec = getattr(self, kind)
        return spec


def as_spec(kind: str, given: Any) -> Spec:
    """A part as people write it, as a mapping with a name.

    Raises:
        ConfigError: where it is neither a name nor a mapping of JSON values.
    """
    if isinstance(given, str):
        return {"name": given}
    if not isinstance(given, Mapping):
        raise ConfigError(f"{kind}: give a name or a mapping of options, not {short(repr(given))}")
    try:
        plain: Spec = strictjson.loads(json.dumps({"name": DEFAULTS[kind], **given}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind}: options are JSON values: {error}") from None
    return plain


def is_name(name: str) -> bool:
    """Whether `name` is legal for a part, a data set or a recipe."""
    return len(name) <= 64 and re.fullmatch(_NAME, name) is not None
