"""`part.option=value` on the command line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vaekit.errors import ConfigError, suggestion

KINDS = ("context", "encoder", "latent", "prior", "decoder", "likelihood", "loss")
DATA = ("binarize", "seed", "resize", "crop", "grey", "validation", "test")
TRAINING = (
    *("epochs", "batch-size", "optimizer", "lr", "schedule", "milestones", "gamma"),
    *("clip", "select", "early-stop", "device", "accumulate", "precision", "compile", "memory-format", "threads", "strategy"),
)


@dataclass
class Overrides:
    """What the arguments of `train` ask for.

    Args:
        source: the data set, where one was named.
        parts: by kind, with names and options.
        data: options of the data.
    """

    source: str | None = None
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def parse(arguments: Iterable[str]) -> Overrides:
    """Tell the data set from the overrides: one with `=` and no `:` before it is an override, wherever it stands.

    Raises:
        ConfigError: for two data sets, or an override of nothing there is.
    """
    found = Overrides()
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or ":" in key:
            if found.source is not None:
                raise ConfigError(f"two data sets: {found.source!r} and {argument!r}; an override is written part.option=value")
            found.source = argument
            continue
        _set(found, key, value_of(text))
    return found


def _set(found: Overrides, key: str, value: Any) -> None:
    kind, dot, option = key.partition(".")
    if kind in KINDS and not dot:
        given = value if isinstance(value, dict) else {"name": str(value)}
        found.parts[kind] = {**found.parts.get(kind, {}), **given}
    elif kind in KINDS and option:
        found.parts.setdefault(kind, {})[option] = value
    elif key == "data":
        raise ConfigError(f"the data set is named alone: vaekit train {value}; an option of it is data.OPTION=VALUE")
    elif kind == "data" and option:
        found.data[option] = value
    elif key in DATA and key != "seed":
        found.data[key] = value
    elif key.replace("_", "-") in (*TRAINING, "seed"):
        raise ConfigError(f"{key!r} is an option: --{key.replace('_', '-')} {value}")
    else:
        known = (*KINDS, "data", *DATA)
        raise ConfigError(f"nothing is called {key!r}{suggestion(kind, known)} (there are: {', '.join((*KINDS, 'data'))})")


def training(milestones: str | None, **given: Any) -> dict[str, Any]:
    """The options of training that were given, by their names in the library."""
    found = {**given, "milestones": None if milestones is None else several(milestones)}
    return {option: value for option, value in found.items() if value is not None}


def as_typed(said: str) -> str:
    """What the library says of options of training, with `--batch-size` for batch_size, as it is typed here."""
    if not said.startswith(("training: ", "save_every ")):
        return said
    names = "|".join(option.replace("-", "_") for option in (*TRAINING, "save-every") if "-" in option)
    return re.sub(rf"\b({names})\b", lambda found: f"--{found[0].replace('_', '-')}", said)


def value_of(text: str) -> Any:
    """JSON where it parses as JSON, else the text itself."""
    from vaekit import strictjson

    try:
        return strictjson.loads(text)
    except ValueError:
        return text


def several(text: str) -> list[Any]:
    """Values with commas between; those inside brackets and quotation marks part nothing."""
    pieces = [""]
    depth = 0
    quoted = False
    for character in text:
        quoted = quoted != (character == '"')
        depth += 0 if quoted else (character in "[{") - (character in "]}")
        if character == "," and not depth and not quoted:
            pieces.append("")
        else:
            pieces[-1] += character
    return [value_of(piece) for piece in pieces]
