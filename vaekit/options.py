"""Options as strict data: unknown, mistyped and out-of-range ones are errors in one line."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from vaekit.errors import ConfigError, short, suggestion


class Options(BaseModel):
    """Frozen, strict options; whatever is wrong with them is a ConfigError."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _readable(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        what = cls._called()
        if isinstance(given, dict):
            unknown = [name for name in given if name not in cls.model_fields]
            if unknown:
                known = list(cls.model_fields)
                name, there = short(unknown[0]), ", ".join(known)
                raise ConfigError(f"{what} has no {name!r}{suggestion(name, known)} (there are: {there})")
            check_lengths(what, given)
        try:
            return handler(given)
        except ValidationError as error:
            raise ConfigError(f"{what}: {explain(error)}") from None

    @classmethod
    def _called(cls) -> str:
        """What errors call these options."""
        return cls.__name__.removesuffix("Options").lower()


def check_lengths(what: str, given: Mapping[str, Any]) -> None:
    """Refuse what is far too long before each item of it is looked at: what is wrong with one takes memory to say.

    Raises:
        ConfigError: naming the option.
    """
    for name, value in given.items():
        if isinstance(value, list | dict) and len(value) > _MOST_ITEMS:
            raise ConfigError(f"{what}: {short(name)}: {len(value):,} items, more than the {_MOST_ITEMS:,} allowed")


_MOST_ITEMS = 10_000


def explain(error: ValidationError) -> str:
    """What pydantic found first, in one line."""
    found = []
    for e in error.errors(include_url=False)[:3]:
        place = short(".".join(map(str, e["loc"])))
        message = short(e["msg"].removeprefix("Value error, "), 300)
        message = f"{message[:1].lower()}{message[1:]} (got {short(repr(e['input']))})"
        found.append(f"{place}: {message}" if place else message)
    more = error.error_count() - len(found)
    return "; ".join(found) + (f"; and {more:,} more" if more else "")
