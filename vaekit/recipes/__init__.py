"""Recipes: named configs to start a run from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from vaekit import strictjson
from vaekit.errors import ConfigError, suggestion


@dataclass(frozen=True)
class Recipe:
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
    parts: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    short: Mapping[str, Any] = field(default_factory=dict)
    sweep: Sequence[Mapping[str, Any]] = ()

    def but(self, source: Any, parts: Mapping[str, Any], data: Mapping[str, Any], training: Mapping[str, Any]) -> "Recipe":
        """The recipe with what else was asked for; a part of another name comes without the recipe's options."""
        changed = {kind: _changed(self.parts.get(kind), part) for kind, part in parts.items() if part is not None}
        return replace(
            self,
            source=self.source if source is None else source,
            parts={**self.parts, **changed},
            data={**self.data, **data},
            training={**self.training, **training},
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
    return replace(recipe, training={**recipe.training, **recipe.short}) if short else recipe


def load(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ConfigError: saying which there are.
    """
    there = names()
    if name not in there:
        raise ConfigError(f"no recipe {name!r}{suggestion(name, there)} (recipes: {', '.join(there)})")
    return Recipe(**strictjson.loads((files(__name__) / f"{name}.json").read_bytes()))


def _changed(before: Any, given: Any) -> Any:
    old = {"name": before} if isinstance(before, str) else before
    new = {"name": given} if isinstance(given, str) else given
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or new.get("name", old.get("name")) != old.get("name"):
        return given
    return {**old, **new}
