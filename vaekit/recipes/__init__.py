"""Recipes: named configs to start a run from."""

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from vaekit import strictjson
from vaekit.config import DEFAULTS
from vaekit.errors import ConfigError, suggestion
from vaekit.options import Options


class Recipe(Options):
    """What a run starts from.

    Args:
        summary: one line for `vaekit recipes`.
        source: the data set.
        parts: by kind, a name or a mapping with options.
        data: fields of DataOptions.
        training: fields of TrainingOptions.
        short: those of them that differ where it is to be over in a few minutes.
        sweep: combinations of values that a sweep of it tries, each by what takes them: `{"loss.beta": 12}`.
    """

    summary: str = ""
    source: Any = None
    parts: dict[str, Any] = {}
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}
    short: dict[str, Any] = {}
    sweep: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = ()

    @field_validator("parts")
    @classmethod
    def _of_kinds(cls, parts: dict[str, Any]) -> dict[str, Any]:
        for kind in parts:
            if kind not in DEFAULTS:
                raise ConfigError(f"parts: no kind {kind!r}{suggestion(kind, DEFAULTS)} (there are: {', '.join(DEFAULTS)})")
        return parts

    def but(self, source: Any, parts: Mapping[str, Any], data: Mapping[str, Any], training: Mapping[str, Any]) -> "Recipe":
        """The recipe with what else was asked for; a part of another name comes without the recipe's options."""
        changed = {kind: _changed(self.parts.get(kind), part) for kind, part in parts.items() if part is not None}
        return self.model_copy(
            update={
                "source": self.source if source is None else source,
                "parts": {**self.parts, **changed},
                "data": {**self.data, **data},
                "training": {**self.training, **training},
            }
        )


def names() -> list[str]:
    """The names of the recipes."""
    return sorted(path.name.removesuffix(".json") for path in files(__name__).iterdir() if path.name.endswith(".json"))


def start(name: str | None, short: bool = False) -> Recipe:
    """What a run starts from: the recipe of that name, at its short length where that is wanted, or an empty one.

    Raises:
        ConfigError: where there is none of that name, saying which there are; or a short length is wanted of none.
    """
    if name is None:
        if short:
            raise ConfigError("a short length is of a recipe: name one, or say how many epochs")
        return Recipe()
    recipe = load(name)
    return recipe.but(None, {}, {}, recipe.short) if short else recipe


def load(name: str) -> Recipe:
    """The recipe of that name, or in the JSON file of that path: an object with the fields of Recipe.

    Raises:
        ConfigError: saying which there are, or what is wrong with the file.
    """
    if name.endswith(".json"):
        return _parsed(name, Path(name).expanduser())
    there = names()
    if name not in there:
        raise ConfigError(
            f"no recipe {name!r}{suggestion(name, there)} (recipes: {', '.join(there)}; or a file of your own, NAME.json)"
        )
    return _parsed(name, files(__name__) / f"{name}.json")


def parts(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that a combination of a sweep asks for, each a name or a mapping of options, or both."""
    found: dict[str, Any] = {}
    for what, value in values.items():
        kind, _, option = what.partition(".")
        given = {option: value} if option else value if isinstance(value, Mapping) else {"name": value}
        found[kind] = {**found.get(kind, {}), **given}
    return found


def _parsed(name: str, file: Traversable) -> Recipe:
    try:
        given = strictjson.loads(file.read_bytes())
        if not isinstance(given, dict):
            raise ConfigError(f"an object is wanted, with {', '.join(Recipe.model_fields)}")
        return Recipe(**given)
    except OSError as error:
        raise ConfigError(f"recipe {name} cannot be read: {error.strerror}") from None
    except ConfigError as error:
        raise ConfigError(f"recipe {name}: {error}") from None
    except ValueError as error:
        raise ConfigError(f"recipe {name} is not valid JSON: {error}") from None


def _changed(before: Any, given: Any) -> Any:
    old = {"name": before} if isinstance(before, str) else before
    new = {"name": given} if isinstance(given, str) else given
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or new.get("name", old.get("name")) != old.get("name"):
        return given
    return {**old, **new}
