"""Recipes: named configs to start a run from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """

    summary: str = ""
    source: Any = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def but(self, source: Any, parts: Mapping[str, Any], data: Mapping[str, Any], training: Mapping[str, Any]) -> "Recipe":
        """The recipe with what else was asked for; a part of another name comes without the recipe's options."""
        changed = {kind: _changed(self.parts.get(kind), part) for kind, part in parts.items() if part is not None}
        return Recipe(
            self.summary,
            self.source if source is None else source,
            {**self.parts, **changed},
            {**self.data, **data},
            {**self.training, **training},
        )


def names() -> list[str]:
    """The names of the recipes."""
    return sorted(path.name.removesuffix(".json") for path in files(__name__).iterdir() if path.name.endswith(".json"))


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
