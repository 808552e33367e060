"""Options as strict data: unknown, mistyped and out-of-range ones are errors in one line."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from vaekit.errors import ConfigError, suggestion


class Options(BaseModel):
    """Frozen, strict options; whatever is wrong with them is a ConfigError."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _readable(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        what = cls.__name__.removesuffix("Options").lower()
        if isinstance(given, dict):
            unknown = [str(name) for name in given if name not in cls.model_fields]
            if unknown:
                known = list(cls.model_fields)
                there = ", ".join(known)
                raise ConfigError(f"{what} has no {unknown[0]!r}{suggestion(unknown[0], known)} (there are: {there})")
        try:
            return handler(given)
        except ValidationError as error:
            raise ConfigError(f"{what}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """What pydantic found, in one line."""
    found = []
    for e in error.errors(include_url=False):
        place = ".".join(str(p) if str(p).isprintable() else ascii(p) for p in e["loc"])
        shown = repr(e["input"])
        message = e["msg"].removeprefix("Value error, ")
        message = f"{message[:1].lower()}{message[1:]} (got {shown if len(shown) < 80 else shown[:77] + '...'})"
        found.append(f"{place}: {message}" if place else message)
    return "; ".join(found)
